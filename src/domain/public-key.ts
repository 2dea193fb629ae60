import { createHash, createPublicKey } from 'node:crypto';
import { DinpError } from './errors.ts';

/** What one line of a `.pub` or `authorized_keys` file says. */
export interface PublicKey {
  /** `ssh-ed25519` */
  type: string;
  /** Size in bits, as `ssh-keygen -l` counts it. */
  bits: number;
  /** Type and base64 without comment: the form that is stored. */
  publicKey: string;
  /** `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
  fingerprint: string;
  /** Text behind the key; empty where there is none. Of unknown origin: printable() before it is shown. */
  comment: string;
}

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 16384;
/** RSA keys below this are let in, with a warning (NIST SP 800-57 puts 2048 bits at 112 bits of strength). */
export const GOOD_RSA_BITS = 3072;

const CURVES: Record<string, { jwk: string; bits: number; bytes: number }> = {
  nistp256: { jwk: 'P-256', bits: 256, bytes: 32 },
  nistp384: { jwk: 'P-384', bits: 384, bytes: 48 },
  nistp521: { jwk: 'P-521', bits: 521, bytes: 66 },
};

const ACCEPTED = new Set([
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
]);

const NEW_KEY = 'Make a new key with:  ssh-keygen -t ed25519';

/** Whether a word is the name of a type of public key, of one that we take or of one that exists. */
export function isKeyType(word: string): boolean {
  return ACCEPTED.has(word) || /^(?:sk-)?(?:ssh|ecdsa-sha2)-[a-z0-9-]+(?:@openssh\.com)?$/.test(word);
}

/**
 * Reads text in the format of `.pub` and `authorized_keys` files (sshd(8), AUTHORIZED_KEYS FILE FORMAT): one key a
 * line; empty lines and `#` comments are skipped.
 * @returns at least one key, in order
 * @throws DinpError usage naming the line, for anything that is not a public key that may be let in
 */
export function parsePublicKeys(text: string): PublicKey[] {
  refuseOtherFiles(text);
  const keys: PublicKey[] = [];
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  const used = lines.filter((line) => !isBlank(line)).length;
  lines.forEach((line, index) => {
    if (isBlank(line)) return;
    keys.push(parseLine(line.trim(), used === 1 ? 'this' : `line ${index + 1}`));
  });
  if (keys.length > 0) return keys;
  throw new DinpError('usage', 'no public key came in.', {
    hint: 'A public key is one line such as "ssh-ed25519 AAAA… name", in a file such as ~/.ssh/id_ed25519.pub.',
  });
}

function isBlank(line: string): boolean {
  return /^\s*(?:#.*)?$/.test(line);
}

/** Files that people take for a public key by mistake: nothing of them is ever repeated in the error. */
function refuseOtherFiles(text: string): void {
  if (/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/.test(text) || /^PuTTY-User-Key-File-\d/m.test(text)) {
    throw new DinpError(
      'usage',
      'that is a private key. It was not stored; it must never leave the machine it is on.',
      {
        hint: 'Give the public one: the file of the same name that ends in .pub (ssh-keygen -y -f FILE prints it).',
      },
    );
  }
  if (/^---- BEGIN SSH2 PUBLIC KEY ----/m.test(text)) {
    throw new DinpError('usage', 'the key is in the SSH2 (RFC 4716) format, not in the one-line format of OpenSSH.', {
      hint: 'Convert it with:  ssh-keygen -i -f FILE',
    });
  }
  if (/-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(text)) {
    const format = text.includes('BEGIN RSA') ? 'PEM' : 'PKCS8';
    throw new DinpError('usage', 'the key is in PEM format, not in the one-line format of OpenSSH.', {
      hint: `Convert it with:  ssh-keygen -i -m ${format} -f FILE`,
    });
  }
}

function parseLine(line: string, where: string): PublicKey {
  const [type = '', data = ''] = line.split(/\s+/, 2);
  if (!isKeyType(type)) throw notAKey(line, where);
  refuseType(type, where);
  const comment = line.slice(type.length).trimStart().slice(data.length).trim();
  const blob = decodeBase64(data);
  const fields = blob === undefined ? undefined : readFields(blob);
  if (blob === undefined || fields === undefined || fields.shift()?.toString('latin1') !== type) {
    throw damaged(where);
  }
  const bits = checkFields(type, fields, where);
  return {
    type,
    bits,
    publicKey: `${type} ${data}`,
    fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
    comment,
  };
}

function notAKey(line: string, where: string): DinpError {
  if (line.split(/\s+/).some(isKeyType)) {
    return new DinpError(
      'usage',
      `${where} has options (such as command= or from=) before the key; they mean nothing here.`,
      {
        hint: 'Give the line from the type of the key on: "ssh-ed25519 AAAA… name".',
      },
    );
  }
  return new DinpError('usage', `${where} is not a public key.`, {
    hint: 'A public key is one line such as "ssh-ed25519 AAAA… name", in a file such as ~/.ssh/id_ed25519.pub.',
  });
}

function refuseType(type: string, where: string): void {
  if (type.includes('-cert-')) {
    throw new DinpError('usage', `${where} is a certificate (${type}); certificates are not supported.`, {
      hint: 'Give the plain public key it was made for: the .pub file without -cert in its name.',
    });
  }
  if (type === 'ssh-dss') {
    throw new DinpError('usage', `${where} is a DSA key, which nobody should use any more.`, { hint: NEW_KEY });
  }
  if (!ACCEPTED.has(type)) {
    throw new DinpError('usage', `${where} is a key of the type ${type}, which is not supported.`, { hint: NEW_KEY });
  }
}

function damaged(where: string): DinpError {
  return new DinpError('usage', `${where} looks like a public key but is damaged or cut off.`, {
    hint: 'Copy the whole line again; the key has no line breaks.',
  });
}

/** Strict base64 with padding, as OpenSSH writes it; undefined for anything else. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined;
}

/** Splits a blob into its length-prefixed strings (RFC 4251, section 5); undefined where lengths do not add up. */
function readFields(blob: Buffer): Buffer[] | undefined {
  const fields: Buffer[] = [];
  let at = 0;
  while (at < blob.length) {
    if (at + 4 > blob.length) return undefined;
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return undefined;
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

/** Checks the fields behind the type name; returns the size in bits. */
function checkFields(type: string, fields: Buffer[], where: string): number {
  if (type === 'ssh-rsa') return checkRsa(fields, where);
  if (type.includes('ed25519')) {
    const wanted = type.startsWith('sk-') ? 2 : 1;
    if (fields.length !== wanted || fields[0]!.length !== 32) throw damaged(where);
    return 256;
  }
  const curve = CURVES[fields[0]?.toString('latin1') ?? ''];
  const wanted = type.startsWith('sk-') ? 3 : 2;
  if (curve === undefined || fields.length !== wanted || !type.includes(`-nistp${curve.bits}`)) throw damaged(where);
  if (!isPoint(fields[1]!, curve)) throw damaged(where);
  return curve.bits;
}

/** An uncompressed point (SEC 1, 2.3.3) that lies on its curve. */
function isPoint(point: Buffer, curve: { jwk: string; bytes: number }): boolean {
  if (point.length !== 1 + 2 * curve.bytes || point[0] !== 4) return false;
  const x = point.subarray(1, 1 + curve.bytes).toString('base64url');
  const y = point.subarray(1 + curve.bytes).toString('base64url');
  try {
    createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: curve.jwk, x, y } });
    return true;
  } catch {
    return false;
  }
}

function checkRsa(fields: Buffer[], where: string): number {
  const [exponent, modulus] = fields;
  if (fields.length !== 2 || !exponent || !modulus) throw damaged(where);
  const bits = bitLength(modulus);
  const odd = (exponent.at(-1) ?? 0) % 2 === 1 && (modulus.at(-1) ?? 0) % 2 === 1;
  if (!odd || bitLength(exponent) < 2 || bits > MAX_RSA_BITS) throw damaged(where);
  if (bits >= MIN_RSA_BITS) return bits;
  throw new DinpError('usage', `${where} is an RSA key of ${bits} bits; at least ${MIN_RSA_BITS} are needed.`, {
    hint: NEW_KEY,
  });
}

/** Bits of a positive mpint (RFC 4251, section 5). */
function bitLength(mpint: Buffer): number {
  const first = mpint.findIndex((byte) => byte !== 0);
  return first === -1 ? 0 : (mpint.length - first) * 8 - Math.clz32(mpint[first]!) + 24;
}
