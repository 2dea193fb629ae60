import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import ssh2 from 'ssh2';
import { DinpError } from '../domain/errors.ts';

export interface HostKey {
  /** The private key in OpenSSH's format. */
  privateKey: string;
  /** `ssh-ed25519 AAAA…` */
  publicKey: string;
  /** `SHA256:…`, as ssh shows it at the first connection. */
  fingerprint: string;
}

/**
 * Reads the server's ed25519 host key; makes it where there is none (mode 600, OpenSSH's format). Two servers that start
 * at once agree on one key, and a crash never leaves half a file.
 * @throws DinpError config when the file cannot be read, cannot be made, or holds anything but an ed25519 private key
 */
export function ensureHostKey(path: string): HostKey {
  const found = readKey(path);
  if (found !== undefined) return found;
  try {
    createKey(path);
  } catch (cause) {
    throw new DinpError('config', `the SSH host key ${path} cannot be made.`, {
      hint: 'Make its folder writable for the user that dinp runs as, or set another path.',
      cause,
    });
  }
  const made = readKey(path);
  if (made === undefined) throw new DinpError('config', `the SSH host key ${path} was removed while dinp started.`);
  return made;
}

function readKey(path: string): HostKey | undefined {
  let privateKey: string;
  try {
    privateKey = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DinpError('config', `the SSH host key ${path} cannot be read.`, {
      hint: 'It must belong to the user that dinp runs as, with mode 600.',
      cause,
    });
  }
  const key = ssh2.utils.parseKey(privateKey);
  if (key instanceof Error || key.type !== 'ssh-ed25519' || !key.isPrivateKey()) {
    throw new DinpError('config', `${path} is not an ed25519 private key without a passphrase.`, {
      hint: `Move it away, and the next start makes a new one (clients will then ask about the changed key).`,
      ...(key instanceof Error ? { cause: key } : {}),
    });
  }
  const blob = key.getPublicSSH();
  return {
    privateKey,
    publicKey: `ssh-ed25519 ${blob.toString('base64')}`,
    fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
  };
}

/**
 * A new key in OpenSSH's format. About one in two hundred that ssh2 1.17 makes is malformed to its own parser (16 of
 * 3000 tried); such a one is thrown away.
 */
export function generateKey(
  generate = () => ssh2.utils.generateKeyPairSync('ed25519', { comment: 'dinp' }).private,
): string {
  for (;;) {
    const privateKey = generate();
    const key = ssh2.utils.parseKey(privateKey);
    if (!(key instanceof Error) && key.isPrivateKey()) return privateKey;
  }
}

function createKey(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const privateKey = generateKey();
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  writeFileSync(temporary, privateKey, { mode: 0o600, flag: 'wx', flush: true });
  chmodSync(temporary, 0o600);
  try {
    // A link, unlike a rename, never replaces a key that somebody else made a moment ago.
    linkSync(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(temporary);
  }
}
