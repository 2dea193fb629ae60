import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Connection, ServerChannel, Session } from 'ssh2';

/**
 * The parts of ssh2 1.x that have no public API and that we cannot do without (SSH's own flow control, the key
 * exchange, whether its native crypto loaded). Everything that reaches into ssh2 goes through this file.
 */
const require = createRequire(import.meta.url);
const crypto = require('ssh2/lib/protocol/crypto.js') as { bindingAvailable: boolean };
const constants = require('ssh2/lib/protocol/constants.js') as {
  SUPPORTED_KEX: string[];
  MESSAGE: { KEXINIT: number; EXT_INFO: number };
};
const utils = require('ssh2/lib/protocol/utils.js') as { sendPacket(protocol: Protocol, packet: Buffer): void };

export const { KEXINIT } = constants.MESSAGE;

/** Whether ssh2's native ciphers are there; without them it falls back silently to code several times slower. */
export const nativeCrypto: boolean = crypto.bindingAvailable;

/** Lets ssh2's configuration take a key exchange that it does not know by itself. */
export function allowKeyExchange(name: string): void {
  if (!constants.SUPPORTED_KEX.includes(name)) constants.SUPPORTED_KEX.unshift(name);
}

type Payload = (payload: Buffer) => unknown;

/** ssh2's `KeyExchange`, one for every exchange of keys. */
export interface KeyExchange {
  remoteExtInfoEnabled: boolean;
  _remoteKexinit: Buffer;
  convertPublicKey(key: Buffer): Buffer;
  computeSecret(otherPublicKey: Buffer): Buffer | Error;
  getPublicKey(): Buffer;
}

/** ssh2's `Protocol`. */
export interface Protocol {
  _kex: KeyExchange | undefined;
  /** Defined from our KEXINIT to the end of an exchange. */
  _kexinit: Buffer | undefined;
  /** Packets that wait for an exchange to end. */
  _queue: Buffer[] | undefined;
  _onPayload: Payload;
  _onHandshakeComplete: (...args: unknown[]) => void;
  _decipher: { _onPayload: Payload };
  /** undefined once the connection cannot be used any more; writing then throws. */
  _destruct: unknown;
  _packetRW: {
    write: { allocStart: number; alloc(length: number): Buffer; finalize(packet: Buffer): Buffer };
  };
  channelData(id: number, data: Buffer): void;
  channelExtData(id: number, data: Buffer, type: number): void;
  channelWindowAdjust(id: number, bytes: number): void;
  channelClose(id: number): void;
  disconnect(reason: number): void;
  rekey(): void;
}

/** The socket that a connection was made of. */
export function socketOf(client: Connection): Socket {
  return (client as unknown as { _sock: Socket })._sock;
}

export function protocolOf(client: Connection): Protocol {
  return (client as unknown as { _protocol: Protocol })._protocol;
}

/** Sends a packet outside a key exchange, as ssh2's own messages go. */
function sendPayload(protocol: Protocol, payload: Buffer): void {
  const { write } = protocol._packetRW;
  const start = write.allocStart;
  const packet = write.alloc(payload.length);
  packet.set(payload, start);
  utils.sendPacket(protocol, write.finalize(packet));
}

const SERVER_SIGNATURES = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
  'rsa-sha2-512',
  'rsa-sha2-256',
].join(',');

/**
 * Tells clients which signatures are taken (RFC 8308, server-sig-algs). ssh2's own list offers SHA-1 and, for want of a
 * comma, hides rsa-sha2-512.
 */
export function sendServerSignatures(protocol: Protocol): void {
  const complete = protocol._onHandshakeComplete;
  protocol._onHandshakeComplete = (...args) => {
    protocol._onHandshakeComplete = complete;
    const wanted = protocol._kex?.remoteExtInfoEnabled ?? false;
    if (protocol._kex !== undefined) protocol._kex.remoteExtInfoEnabled = false;
    if (wanted) {
      const strings = ['server-sig-algs', SERVER_SIGNATURES].map(sshString);
      sendPayload(protocol, Buffer.concat([Buffer.from([constants.MESSAGE.EXT_INFO, 0, 0, 0, 1]), ...strings]));
    }
    complete(...args);
  };
}

function sshString(text: string): Buffer {
  const string = Buffer.alloc(4 + Buffer.byteLength(text));
  string.writeUInt32BE(string.length - 4);
  string.write(text, 4);
  return string;
}

interface Side {
  id: number;
  window: number;
  packetSize: number;
  state: 'open' | 'eof' | 'closing' | 'closed';
}

/** What an ssh2 channel keeps about SSH's flow control (RFC 4254, 5.2). */
export interface ChannelState {
  incoming: Side;
  outgoing: Side;
  /** With `_waitWindow` set and no chunk of its own waiting, ssh2 calls `_chunkcb` once the client opens its window. */
  _waitWindow: boolean;
  _chunkcb: (() => void) | undefined;
}

export function channelState(channel: ServerChannel): ChannelState {
  return channel as unknown as ChannelState;
}

export function sessionState(session: Session): { incoming: Side; outgoing: Side } {
  return (session as unknown as { _chanInfo: { incoming: Side; outgoing: Side } })._chanInfo;
}

/**
 * Ends a session that the client closed before it started anything: ssh2 (1.17) neither answers nor forgets it.
 */
export function dropSession(client: Connection, session: Session): void {
  const { incoming, outgoing } = sessionState(session);
  const internals = client as unknown as { _chanMgr: { remove(id: number): void } };
  internals._chanMgr.remove(incoming.id);
  const protocol = protocolOf(client);
  if (protocol._destruct !== undefined) protocol.channelClose(outgoing.id);
}

/** ssh2's server takes sockets from elsewhere, which its types do not say. */
export function injectSocket(server: unknown, socket: Socket): void {
  (server as { injectSocket(socket: Socket): void }).injectSocket(socket);
}
