import assert from 'node:assert/strict';
import { createHash, createPublicKey, decapsulate, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { answerHybrid, MLKEM768_X25519, withStandIn } from '../../../src/ssh/mlkem.ts';

const X25519 = Buffer.from('302a300506032b656e032100', 'hex');

function kexinit(names: string): Buffer {
  const list = Buffer.alloc(4 + names.length);
  list.writeUInt32BE(names.length);
  list.write(names, 4);
  return Buffer.concat([Buffer.from([20]), Buffer.alloc(16, 7), list, Buffer.from('rest')]);
}

describe('answerHybrid', () => {
  it('agrees with a client on the same secret', () => {
    const mlkem = generateKeyPairSync('ml-kem-768');
    const x25519 = generateKeyPairSync('x25519');
    const raw = [mlkem, x25519].map(({ publicKey }) => publicKey.export({ type: 'spki', format: 'der' }));
    const { reply, secret } = answerHybrid(Buffer.concat([raw[0]!.subarray(-1184), raw[1]!.subarray(-32)]));
    assert.equal(reply.length, 1088 + 32);
    const publicKey = createPublicKey({
      key: Buffer.concat([X25519, reply.subarray(1088)]),
      format: 'der',
      type: 'spki',
    });
    const classical = diffieHellman({ privateKey: x25519.privateKey, publicKey });
    const shared = decapsulate(mlkem.privateKey, reply.subarray(0, 1088));
    assert.deepEqual(secret, createHash('sha256').update(shared).update(classical).digest());
  });

  it('refuses keys of another length and an X25519 key of zeros', () => {
    assert.throws(() => answerHybrid(Buffer.alloc(32)));
    const mlkem = generateKeyPairSync('ml-kem-768').publicKey.export({ type: 'spki', format: 'der' }).subarray(-1184);
    assert.throws(() => answerHybrid(Buffer.concat([mlkem, Buffer.alloc(32)])));
  });
});

describe('withStandIn', () => {
  const offered = [MLKEM768_X25519, 'curve25519-sha256'];

  it('acts only where the hybrid is what both agree on', () => {
    const names = `unknown,${MLKEM768_X25519},curve25519-sha256,ext-info-c`;
    const expected = kexinit('unknown,curve25519-sha256,curve25519-sha256,ext-info-c');
    assert.deepEqual(withStandIn(kexinit(names), offered), expected);
    assert.equal(withStandIn(kexinit(`curve25519-sha256,${MLKEM768_X25519}`), offered), undefined);
    assert.equal(withStandIn(kexinit('curve25519-sha256'), offered), undefined);
  });

  it('lets malformed messages through to ssh2', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        assert.equal(withStandIn(Buffer.from([20, ...bytes]), offered), undefined);
      }),
    );
  });
});
