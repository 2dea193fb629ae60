import { createHash, createPublicKey, diffieHellman, encapsulate, generateKeyPairSync } from 'node:crypto';
import { allowKeyExchange, KEXINIT, type KeyExchange, type Protocol } from './ssh2-internals.ts';

/**
 * The key exchange `mlkem768x25519-sha256` (draft-ietf-sshm-mlkem-hybrid-kex), server side, for ssh2, which lacks it:
 * OpenSSH 10 prefers it, and warns at every connection that goes without.
 *
 * ssh2 picks a key exchange inside one function that cannot be extended. So its KEXINIT handler is given the client's
 * list with the name replaced by that of X25519 alone, and the exchange it then makes gets its three computing methods
 * replaced. What is hashed stays the client's own message.
 */
export const MLKEM768_X25519 = 'mlkem768x25519-sha256';
const STAND_IN = 'curve25519-sha256';

const MLKEM_PUBLIC_BYTES = 1184;
const X25519_BYTES = 32;
/** SubjectPublicKeyInfo up to the key itself (RFC 9935 for ML-KEM-768, RFC 8410 for X25519). */
const MLKEM_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex');

/** Whether this Node can do it (24.7 and later). */
export const mlkemAvailable: boolean = typeof encapsulate === 'function';

if (mlkemAvailable) allowKeyExchange(MLKEM768_X25519);

/**
 * Prepares one connection; called when the client's identification has arrived and nothing of the exchange has.
 * @param offered the key exchanges that the server's KEXINIT names, in the same order
 */
export function enableMlkem(protocol: Protocol, offered: readonly string[]): void {
  if (!mlkemAvailable) return;
  protocol._decipher._onPayload = handler(protocol, protocol._decipher._onPayload, offered);
  protocol._onPayload = handler(protocol, protocol._onPayload, offered);
}

function handler(protocol: Protocol, next: (payload: Buffer) => unknown, offered: readonly string[]) {
  return (payload: Buffer): unknown => {
    if (payload[0] !== KEXINIT) return next(payload);
    const replaced = withStandIn(payload, offered);
    if (replaced === undefined) return next(payload);
    const before = protocol._kex;
    const result = next(replaced);
    const exchange = protocol._kex;
    if (exchange === undefined || exchange === before) return result;
    exchange._remoteKexinit = payload;
    computeHybrid(exchange);
    return result;
  };
}

/** The client's KEXINIT with the stand-in's name, or undefined where something else is agreed on or it is malformed. */
export function withStandIn(payload: Buffer, offered: readonly string[]): Buffer | undefined {
  // byte SSH_MSG_KEXINIT, 16 bytes cookie, name-list kex_algorithms … (RFC 4253, 7.1)
  const start = 1 + 16;
  if (payload.length < start + 4) return undefined;
  const end = start + 4 + payload.readUInt32BE(start);
  if (end > payload.length) return undefined;
  const names = payload.toString('latin1', start + 4, end).split(',');
  // The first of the client's names that the server has is the one (RFC 4253, 7.1).
  const agreed = names.findIndex((name) => offered.includes(name));
  if (names[agreed] !== MLKEM768_X25519) return undefined;
  names[agreed] = STAND_IN;
  const list = Buffer.from(names.join(','), 'latin1');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(list.length);
  return Buffer.concat([payload.subarray(0, start), length, list, payload.subarray(end)]);
}

function computeHybrid(exchange: KeyExchange): void {
  let reply: Buffer | undefined;
  // C_INIT and S_REPLY are plain strings here: nothing of an mpint's leading zero.
  exchange.convertPublicKey = (key) => key;
  exchange.computeSecret = (init) => {
    try {
      const result = answerHybrid(init);
      reply = result.reply;
      return result.secret;
    } catch (error) {
      return error as Error;
    }
  };
  // ssh2 computes the secret first. If that failed, the exchange has ended and this is never sent.
  exchange.getPublicKey = () => reply ?? Buffer.alloc(0);
}

/**
 * The server's part of the exchange: encapsulates to the client's ML-KEM key and does X25519 with its other key.
 * @param init C_INIT, the ML-KEM-768 public key and the X25519 one
 * @returns S_REPLY (ciphertext and our X25519 key) and K = SHA-256(K_PQ || K_CL), which SSH encodes as a string
 * @throws Error for keys of the wrong length or ones that the primitives refuse
 */
export function answerHybrid(init: Buffer): { reply: Buffer; secret: Buffer } {
  if (init.length !== MLKEM_PUBLIC_BYTES + X25519_BYTES) throw new Error(`C_INIT has ${init.length} bytes`);
  const mlkem = spki(MLKEM_SPKI, init.subarray(0, MLKEM_PUBLIC_BYTES));
  const { sharedKey, ciphertext } = encapsulate(mlkem);
  const own = generateKeyPairSync('x25519');
  const theirs = spki(X25519_SPKI, init.subarray(MLKEM_PUBLIC_BYTES));
  const classical = diffieHellman({ privateKey: own.privateKey, publicKey: theirs });
  const ownPublic = own.publicKey.export({ type: 'spki', format: 'der' }).subarray(X25519_SPKI.length);
  return {
    reply: Buffer.concat([ciphertext, ownPublic]),
    secret: createHash('sha256').update(sharedKey).update(classical).digest(),
  };
}

function spki(prefix: Buffer, key: Buffer) {
  return createPublicKey({ key: Buffer.concat([prefix, key]), format: 'der', type: 'spki' });
}
