import { createHash } from 'node:crypto';
import ssh2, { type Client, type ConnectConfig } from 'ssh2';
import { DinpError } from '../../domain/errors.ts';

/** Where an SSH server is, and as whom we log in. */
export interface SshAddress {
  user: string;
  /** Name or IP address. */
  host: string;
  port: number;
}

/** The key by which a server proves that it is the one we know. */
export interface PinnedKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`. */
  type: string;
  /** `SHA256:…`, as ssh shows it. */
  fingerprint: string;
}

export interface SshLogin {
  /** For people. */
  name: string;
  address: SshAddress;
  /** In OpenSSH's format. */
  privateKey: string;
  hostKey: PinnedKey;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** A host that says nothing for three of these is gone. */
const KEEPALIVE_MS = 5_000;

/**
 * Connects and logs in; nothing is said to a server whose key is another than the pinned one.
 * @throws DinpError unavailable (cannot be reached), denied (another host key, or it does not let us in)
 */
export function openConnection(login: SshLogin): Promise<Client> {
  const { name, address, privateKey, hostKey } = login;
  let presented: PinnedKey | undefined;
  const config: ConnectConfig = {
    ...connectTo(address),
    privateKey,
    algorithms: { serverHostKey: algorithmsOf(hostKey.type) },
    hostVerifier: (blob: Buffer) => {
      presented = describeKey(blob);
      return presented.fingerprint === hostKey.fingerprint;
    },
  };
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    client.once('ready', () => resolve(client));
    client.on('error', (error: Error & { level?: string }) => {
      const other = presented !== undefined && presented.fingerprint !== hostKey.fingerprint;
      reject(other ? changedKey(login, presented!) : loginError(login, error));
      client.destroy();
    });
    client.once('close', () => reject(new DinpError('unavailable', `${name} closed the connection at its login.`)));
    client.connect(config);
  });
}

/**
 * Asks a server for its host key, without logging in.
 * @throws DinpError unavailable
 */
export function askHostKey(name: string, address: SshAddress): Promise<PinnedKey> {
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    const config: ConnectConfig = {
      ...connectTo(address),
      hostVerifier: (blob: Buffer) => {
        resolve(describeKey(blob));
        return false;
      },
    };
    client.on('error', (error) => {
      reject(unreachable(name, address, error));
      client.destroy();
    });
    client.once('close', () => reject(new DinpError('unavailable', `${name} is no SSH server.`)));
    client.connect(config);
  });
}

function connectTo({ host, port, user }: SshAddress): ConnectConfig {
  return {
    host,
    port,
    username: user,
    readyTimeout: CONNECT_TIMEOUT_MS,
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: 3,
  };
}

/** Type and fingerprint of a public key in SSH's wire format (RFC 4253, 6.6). */
function describeKey(blob: Buffer): PinnedKey {
  const type = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1');
  return { type, fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}` };
}

/** A server with several keys shows the one that is asked for: the type that was pinned. */
function algorithmsOf(type: string): ssh2.ServerHostKeyAlgorithm[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type as ssh2.ServerHostKeyAlgorithm];
}

function changedKey({ name, address, hostKey }: SshLogin, presented: PinnedKey): DinpError {
  return new DinpError('denied', `${name} (${address.host}) shows another host key than the one that is pinned.`, {
    detail: `pinned   ${hostKey.fingerprint}\npresented ${presented.fingerprint}`,
    hint:
      'Somebody may stand between, or the machine was installed anew. Compare with, on the machine itself:\n' +
      '  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n' +
      `If it is right: dinp hosts pin ${name} --fingerprint ${presented.fingerprint}`,
  });
}

function loginError(login: SshLogin, error: Error & { level?: string }): DinpError {
  const { name, address } = login;
  if (error.level !== 'client-authentication') return unreachable(name, address, error);
  return new DinpError('denied', `${name} does not let us in as ${address.user}.`, {
    hint: `Put our key into ~/.ssh/authorized_keys of ${address.user} there. To print it: dinp hosts key`,
    cause: error,
  });
}

function unreachable(name: string, { host, port }: SshAddress, cause: Error): DinpError {
  return new DinpError('unavailable', `${name} cannot be reached at ${host} port ${port}: ${cause.message}.`, {
    cause,
    hint: 'Does the machine run, and its sshd?',
  });
}
