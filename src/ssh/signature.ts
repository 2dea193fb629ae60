import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import ssh2 from 'ssh2';

/** A `publickey` authentication request (RFC 4252, 7) as ssh2 hands it over. */
export interface SignedRequest {
  algorithm: string;
  key: Buffer;
  /** undefined for RSA with SHA-1, and for all algorithms that have only one hash. */
  hash: string | undefined;
  /** What was signed, and the signature; undefined where the client only asks whether the key would do. */
  blob: Buffer | undefined;
  signature: Buffer | undefined;
}

const MIN_RSA_BITS = 2048;
const USER_PRESENT = 0x01;
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
export function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/**
 * Whether a key is of a kind we take: ed25519, ECDSA, RSA of 2048 bits or more without SHA-1, and FIDO keys. Never
 * certificates, never DSA.
 */
export function isAcceptable(request: SignedRequest): boolean {
  const fields = readStrings(request.key);
  if (fields?.[0]?.toString('latin1') !== request.algorithm) return false;
  switch (request.algorithm) {
    case 'ssh-ed25519':
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
    case 'sk-ssh-ed25519@openssh.com':
    case 'sk-ecdsa-sha2-nistp256@openssh.com':
      return true;
    case 'ssh-rsa':
      return request.hash !== undefined && rsaBits(fields[2]) >= MIN_RSA_BITS;
    default:
      return false;
  }
}

/** Whether the signature is there and right. Malformed keys and signatures are wrong, never an exception. */
export function isSigned(request: SignedRequest): boolean {
  const { algorithm, key, blob, signature, hash } = request;
  if (blob === undefined || signature === undefined || !isAcceptable(request)) return false;
  try {
    if (algorithm.startsWith('sk-')) return isSignedByToken(algorithm, key, blob, signature);
    const parsed = ssh2.utils.parseKey(key);
    if (parsed instanceof Error || parsed.type !== algorithm) return false;
    // ssh2's own signature has the hash as third parameter, its types have not.
    const verifier = parsed as unknown as { verify(data: Buffer, signature: Buffer, hash?: string): boolean | Error };
    return verifier.verify(blob, signature, hash) === true;
  } catch {
    return false;
  }
}

/**
 * Signatures of FIDO tokens, which ssh2 cannot verify (OpenSSH, PROTOCOL.u2f): the token signs SHA-256 of the
 * application, flags, a counter and SHA-256 of the message; somebody must have touched it.
 */
function isSignedByToken(algorithm: string, key: Buffer, blob: Buffer, signature: Buffer): boolean {
  const fields = readStrings(key);
  const application = fields?.at(-1);
  const flags = signature.at(-5);
  if (fields === undefined || application === undefined || flags === undefined) return false;
  if ((flags & USER_PRESENT) === 0) return false;
  const tail = signature.subarray(-5);
  const body = signature.subarray(0, -5);
  const signed = Buffer.concat([sha256(application), tail, sha256(blob)]);
  if (algorithm === 'sk-ssh-ed25519@openssh.com') {
    const point = fields[1];
    if (fields.length !== 3 || point?.length !== 32) return false;
    return verify(null, signed, spki(Buffer.concat([ED25519_SPKI, point])), body);
  }
  const point = fields[2];
  const numbers = readStrings(body);
  if (fields.length !== 4 || point?.length !== 65 || numbers?.length !== 2) return false;
  const fixed = Buffer.concat(numbers.map((number) => fixedLength(number, 32)));
  return verify('sha256', signed, { key: p256(point), dsaEncoding: 'ieee-p1363' }, fixed);
}

function sha256(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

function spki(der: Buffer): KeyObject {
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

function p256(point: Buffer): KeyObject {
  const x = point.subarray(1, 33).toString('base64url');
  const y = point.subarray(33).toString('base64url');
  return createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
}

/** An mpint (RFC 4251, 5) as an unsigned number of a fixed length. @throws RangeError when it does not fit */
function fixedLength(mpint: Buffer, length: number): Buffer {
  const digits = mpint.subarray(mpint.findIndex((byte) => byte !== 0));
  if (digits.length > length) throw new RangeError('the number is too large');
  return Buffer.concat([Buffer.alloc(length - digits.length), digits]);
}

function rsaBits(modulus: Buffer | undefined): number {
  const first = modulus?.findIndex((byte) => byte !== 0) ?? -1;
  return modulus === undefined || first === -1 ? 0 : (modulus.length - first) * 8 - Math.clz32(modulus[first]!) + 24;
}

/** The length-prefixed strings that a blob is made of (RFC 4251, 5); undefined where lengths do not add up. */
function readStrings(blob: Buffer): Buffer[] | undefined {
  const strings: Buffer[] = [];
  let at = 0;
  while (at < blob.length) {
    if (at + 4 > blob.length) return undefined;
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return undefined;
    strings.push(blob.subarray(at + 4, end));
    at = end;
  }
  return strings;
}
