import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { DinpError } from '../../../src/domain/errors.ts';
import { parsePublicKeys } from '../../../src/domain/public-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'dinp-keys-'));
after(() => rmSync(folder, { recursive: true }));

function keygen(...args: string[]): string {
  return execFileSync('ssh-keygen', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

let made = 0;
function makeKey(type: string, bits?: string): { file: string; text: string } {
  const file = join(folder, `k${++made}`);
  keygen('-q', '-t', type, ...(bits ? ['-b', bits] : []), '-N', '', '-C', 'alice at work', '-f', file);
  return { file, text: readFileSync(`${file}.pub`, 'utf8') };
}

function problem(text: string): string {
  try {
    parsePublicKeys(text);
  } catch (error) {
    assert.ok(error instanceof DinpError, String(error));
    return error.message;
  }
  return 'accepted';
}

const ed25519 = makeKey('ed25519');

for (const [type, bits] of [
  ['ed25519', undefined],
  ['ecdsa', '256'],
  ['ecdsa', '384'],
  ['ecdsa', '521'],
  ['rsa', '2048'],
  ['rsa', '3072'],
] as const) {
  test(`bits, fingerprint and comment of ${type} ${bits ?? ''} are those of ssh-keygen -l`, () => {
    const { file, text } = makeKey(type, bits);
    const [key] = parsePublicKeys(text);
    const [size, fingerprint, ...rest] = keygen('-lf', `${file}.pub`).trim().split(' ');
    assert.deepEqual(
      [String(key!.bits), key!.fingerprint, key!.comment],
      [size, fingerprint, rest.slice(0, -1).join(' ')],
    );
    assert.equal(key!.publicKey, text.split(' ').slice(0, 2).join(' '));
  });
}

/** A security key's public part is ordinary bytes: no device is needed to make one. */
function skKey(type: string, fields: Buffer[]): string {
  const parts = [Buffer.from(type), ...fields, Buffer.from('ssh:')];
  const blob = Buffer.concat(parts.flatMap((part) => [Buffer.from([0, 0, part.length >> 8, part.length & 255]), part]));
  return `${type} ${blob.toString('base64')} yubikey\n`;
}

function blobOf(text: string): Buffer {
  return Buffer.from(text.split(' ')[1]!, 'base64');
}

test('security keys are read as ssh-keygen reads them', () => {
  const point = blobOf(makeKey('ecdsa', '256').text).subarray(-65);
  for (const text of [
    skKey('sk-ssh-ed25519@openssh.com', [blobOf(ed25519.text).subarray(-32)]),
    skKey('sk-ecdsa-sha2-nistp256@openssh.com', [Buffer.from('nistp256'), point]),
  ]) {
    const file = join(folder, 'sk.pub');
    writeFileSync(file, text);
    const [size, fingerprint] = keygen('-lf', file).split(' ');
    const [key] = parsePublicKeys(text);
    assert.deepEqual([String(key!.bits), key!.fingerprint], [size, fingerprint]);
  }
});

test('several lines with comments and empty lines are several keys', () => {
  const other = makeKey('ecdsa', '256');
  const keys = parsePublicKeys(`# the team\r\n\r\n${ed25519.text.trim()}\r\n  ${other.text}\n`);
  assert.deepEqual(
    keys.map((key) => key.type),
    ['ssh-ed25519', 'ecdsa-sha2-nistp256'],
  );
});

test('a bad line is named by its number', () => {
  assert.equal(problem(`${ed25519.text}\nhello world\n`), 'line 3 is not a public key.');
  assert.equal(problem('hello world'), 'this is not a public key.');
  assert.equal(problem('# nothing\n\n'), 'no public key came in.');
});

test('private keys of every format are refused, and nothing of them is repeated', () => {
  const text = readFileSync(ed25519.file, 'utf8');
  const rsa = makeKey('rsa', '2048').file;
  keygen('-p', '-N', '', '-m', 'PEM', '-f', rsa);
  const puttyFile = 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAA\n';
  for (const secret of [text, readFileSync(rsa, 'utf8'), puttyFile, '-----BEGIN ENCRYPTED PRIVATE KEY-----\n']) {
    assert.match(problem(secret), /^that is a private key\. It was not stored/);
  }
});

test('other formats get the command that converts them', () => {
  for (const format of ['RFC4716', 'PKCS8', 'PEM']) {
    const key = makeKey('rsa', '2048');
    const exported = keygen('-e', '-m', format, '-f', key.file);
    writeFileSync(join(folder, 'exported'), exported);
    assert.throws(
      () => parsePublicKeys(exported),
      (error: DinpError) => {
        const args = /ssh-keygen (-i.*) FILE/.exec(error.hint!)![1]!.split(' ');
        assert.equal(keygen(...args, join(folder, 'exported')).trim(), key.text.split(' ').slice(0, 2).join(' '));
        return true;
      },
    );
  }
});

test('certificates, options, DSA, small RSA and unknown types are refused with their reason', () => {
  const ca = makeKey('ed25519');
  const user = makeKey('ed25519');
  keygen('-q', '-s', ca.file, '-I', 'id', `${user.file}.pub`);
  assert.match(problem(readFileSync(`${user.file}-cert.pub`, 'utf8')), /^this is a certificate \(ssh-ed25519-cert-v01/);
  assert.match(problem(`restrict,command="a b" ${ed25519.text}`), /^this has options/);
  assert.match(problem('ssh-dss AAAAB3NzaC1kc3M= old'), /^this is a DSA key/);
  assert.equal(problem(makeKey('rsa', '1024').text), 'this is an RSA key of 1024 bits; at least 2048 are needed.');
  assert.equal(
    problem('ssh-xmss@openssh.com AAAA x'),
    'this is a key of the type ssh-xmss@openssh.com, which is not supported.',
  );
});

test('a key whose type name and contents disagree is damaged', () => {
  const data = ed25519.text.split(' ')[1]!;
  assert.match(problem(`ecdsa-sha2-nistp256 ${data}`), /damaged/);
  assert.match(problem(`ssh-ed25519 ${data}AAAA`), /damaged/);
  assert.match(problem('ssh-ed25519'), /damaged/);
});

test('a point that is not on its curve is damaged', () => {
  const { text } = makeKey('ecdsa', '256');
  const blob = blobOf(text);
  blob[blob.length - 1]! ^= 1;
  assert.match(problem(`ecdsa-sha2-nistp256 ${blob.toString('base64')}`), /damaged/);
});

test('whatever is cut off, flipped or made up is refused with a DinpError or is a key that ssh-keygen would name the same', () => {
  const text = ed25519.text.trim();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: text.length - 'alice at work'.length - 2 }), (length) => {
      assert.notEqual(problem(text.slice(0, length)), 'accepted');
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (garbage) =>
      assert.equal(typeof problem(garbage), 'string'),
    ),
  );
});
