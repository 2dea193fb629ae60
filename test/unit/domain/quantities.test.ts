import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDuration, parseSize } from '../../../src/domain/quantities.ts';

test('durations have a unit', () => {
  assert.equal(parseDuration('500ms'), 500);
  assert.equal(parseDuration('30s'), 30_000);
  assert.equal(parseDuration('15m'), 900_000);
  assert.equal(parseDuration('2h'), 7_200_000);
  for (const wrong of ['', '5', 's', '1.5s', '-1s', '1S', ' 1s', '1s ', '1s1m', '1d', '１s', '1e3s']) {
    assert.equal(parseDuration(wrong), undefined, wrong);
  }
});

test('sizes have a unit', () => {
  assert.equal(parseSize('512K'), 524_288);
  assert.equal(parseSize('256M'), 268_435_456);
  assert.equal(parseSize('1G'), 1_073_741_824);
  for (const wrong of ['', '256', '256m', '256MB', '256Mi', '1.5G', '-1M', '1 M', '1T'])
    assert.equal(parseSize(wrong), undefined, wrong);
});

test('every whole number with a unit is read as itself', () => {
  fc.assert(
    fc.property(fc.nat(999_999_999), (count) => {
      assert.equal(parseDuration(`${count}ms`), count);
      assert.equal(parseSize(`${count}K`), count * 1024);
    }),
  );
});
