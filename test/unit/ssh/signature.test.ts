import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fingerprintOf, isAcceptable, isSigned, type SignedRequest } from '../../../src/ssh/signature.ts';

const APPLICATION = 'ssh:';

function sshString(data: Buffer | string): Buffer {
  const bytes = Buffer.from(data);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function mpint(number: Buffer): Buffer {
  const digits = number.subarray(number.findIndex((byte) => byte !== 0));
  return sshString(digits[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest();

/** What a FIDO token signs and sends, as OpenSSH's PROTOCOL.u2f has it; the shape in which ssh2 hands it over. */
function tokenRequest(kind: 'ed25519' | 'p256', flags: number): SignedRequest {
  const blob = randomBytes(120);
  const tail = Buffer.from([flags, 0, 0, 0, 7]);
  const signed = Buffer.concat([sha256(APPLICATION), tail, sha256(blob)]);
  if (kind === 'ed25519') {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const algorithm = 'sk-ssh-ed25519@openssh.com';
    const point = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
    const key = Buffer.concat([algorithm, point, APPLICATION].map(sshString));
    return { algorithm, key, hash: undefined, blob, signature: Buffer.concat([sign(null, signed, privateKey), tail]) };
  }
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = 'sk-ecdsa-sha2-nistp256@openssh.com';
  const point = publicKey.export({ type: 'spki', format: 'der' }).subarray(-65);
  const key = Buffer.concat([algorithm, 'nistp256', point, APPLICATION].map(sshString));
  const signature = Buffer.concat([ecdsa(signed, privateKey), tail]);
  return { algorithm, key, hash: undefined, blob, signature };
}

function ecdsa(data: Buffer, key: KeyObject): Buffer {
  const fixed = sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' });
  return Buffer.concat([mpint(fixed.subarray(0, 32)), mpint(fixed.subarray(32))]);
}

describe('signatures of FIDO tokens', () => {
  for (const kind of ['ed25519', 'p256'] as const) {
    it(`${kind}: are taken when right and somebody touched the token`, () => {
      for (let i = 0; i < 50; i++) assert.ok(isSigned(tokenRequest(kind, 1)));
      assert.equal(isSigned(tokenRequest(kind, 0)), false);
    });

    it(`${kind}: are refused when a byte of them or of what they sign is another`, () => {
      const good = tokenRequest(kind, 1);
      fc.assert(
        fc.property(
          fc.constantFrom('signature', 'blob'),
          fc.nat(),
          fc.integer({ min: 1, max: 255 }),
          (part, at, change) => {
            const bytes = Buffer.from(good[part]!);
            bytes[at % bytes.length]! ^= change;
            assert.equal(isSigned({ ...good, [part]: bytes }), false);
          },
        ),
      );
    });
  }
});

describe('isAcceptable', () => {
  it('wants the kind of key that the algorithm names, and refuses certificates and SHA-1', () => {
    const request = (algorithm: string, type = algorithm, hash?: string): SignedRequest => {
      const rsa = [type, Buffer.from([1, 0, 1]), Buffer.concat([Buffer.from([0]), Buffer.alloc(256, 0xff)])];
      const key = Buffer.concat((type === 'ssh-rsa' ? rsa : [type, Buffer.alloc(32, 1)]).map(sshString));
      return { algorithm, key, hash, blob: undefined, signature: undefined };
    };
    assert.ok(isAcceptable(request('ssh-ed25519')));
    assert.ok(isAcceptable(request('ssh-rsa', 'ssh-rsa', 'sha512')));
    assert.equal(isAcceptable(request('ssh-rsa')), false);
    assert.equal(isAcceptable(request('ssh-ed25519', 'ssh-rsa')), false);
    assert.equal(isAcceptable(request('ssh-dss')), false);
    assert.equal(isAcceptable(request('ssh-ed25519-cert-v01@openssh.com')), false);
  });

  it('never throws', () => {
    const algorithms = ['ssh-ed25519', 'ssh-rsa', 'ecdsa-sha2-nistp256', 'sk-ecdsa-sha2-nistp256@openssh.com', ''];
    const bytes = fc.uint8Array({ maxLength: 80 }).map((data) => Buffer.from(data));
    fc.assert(
      fc.property(fc.constantFrom(...algorithms), bytes, bytes, bytes, (algorithm, rest, blob, signature) => {
        const key = Buffer.concat([sshString(algorithm), rest]);
        assert.equal(isSigned({ algorithm, key, hash: 'sha256', blob, signature }), false);
      }),
    );
  });
});

it('prints fingerprints as ssh-keygen does', () => {
  assert.equal(fingerprintOf(Buffer.from('x')), 'SHA256:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE');
});
