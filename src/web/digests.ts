import type { IncomingHttpHeaders } from 'node:http';
import { DinpError } from '../domain/errors.ts';

const HEX = /^[0-9a-f]{64}$/i;
const BASE64 = /^[A-Za-z0-9+/]{43}=?$/;

/**
 * The SHA-256 that a request says its body has: `X-Checksum-Sha256: HEX`, `Content-Digest` and `Repr-Digest` (RFC 9530),
 * `Digest` (RFC 3230). Other algorithms are passed over.
 * @returns 64 hex digits, undefined where it says none
 * @throws DinpError usage for one that is none, or two that differ
 */
export function wantedSha256(headers: IncomingHttpHeaders): string | undefined {
  const found = new Set<string>();
  const hex = headers['x-checksum-sha256'];
  if (hex !== undefined) {
    if (!HEX.test(String(hex))) throw wrong('X-Checksum-Sha256', '64 hexadecimal digits');
    found.add(String(hex).toLowerCase());
  }
  for (const name of ['content-digest', 'repr-digest']) {
    const value = sha256In(headers[name]);
    if (value !== undefined) found.add(fromBase64(name, /^:(.*):$/s.exec(value)?.[1]));
  }
  const old = sha256In(headers.digest);
  if (old !== undefined) found.add(fromBase64('digest', old));
  if (found.size > 1) throw new DinpError('usage', 'the request names two different SHA-256 checksums.');
  return [...found][0];
}

/** The part behind `sha-256=` of a list of digests. */
function sha256In(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  for (const part of String(header).split(',')) {
    const [, value] = /^\s*sha-256=(.*?)\s*$/is.exec(part) ?? [];
    if (value !== undefined) return value;
  }
  return undefined;
}

function fromBase64(name: string, value: string | undefined): string {
  const bytes = value !== undefined && BASE64.test(value) ? Buffer.from(value, 'base64') : undefined;
  if (bytes?.length === 32) return bytes.toString('hex');
  throw wrong(name, name === 'digest' ? 'sha-256=BASE64' : 'sha-256=:BASE64:');
}

function wrong(name: string, form: string): DinpError {
  return new DinpError('usage', `the header ${name} must be ${form}.`);
}
