import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { wantedSha256 } from '../../../src/web/digests.ts';

const bytes = createHash('sha256').update('x').digest();
const hex = bytes.toString('hex');
const base64 = bytes.toString('base64');

test('all headers that say a SHA-256 are read', () => {
  assert.equal(wantedSha256({}), undefined);
  assert.equal(wantedSha256({ 'x-checksum-sha256': hex.toUpperCase() }), hex);
  assert.equal(wantedSha256({ 'content-digest': `sha-256=:${base64}:` }), hex);
  assert.equal(wantedSha256({ 'repr-digest': `sha-512=:AAAA:, sha-256=:${base64}:` }), hex);
  assert.equal(wantedSha256({ digest: `SHA-256=${base64}` }), hex);
  assert.equal(wantedSha256({ digest: `md5=abc, sha-256=${base64}`, 'x-checksum-sha256': hex }), hex);
  assert.equal(wantedSha256({ 'content-digest': 'sha-512=:AAAA:' }), undefined);
});

test('what is none, or two that differ, is refused: a checksum that is not understood must not pass', () => {
  const other = createHash('sha256').update('y').digest('hex');
  for (const headers of [
    { 'x-checksum-sha256': 'abc' },
    { 'x-checksum-sha256': base64 },
    { 'content-digest': `sha-256=${base64}` },
    { 'content-digest': 'sha-256=::' },
    { digest: `sha-256=${hex}` },
    { digest: `sha-256=${base64}`, 'x-checksum-sha256': other },
  ])
    assert.throws(() => wantedSha256(headers), { code: 'usage' }, JSON.stringify(headers));
});
