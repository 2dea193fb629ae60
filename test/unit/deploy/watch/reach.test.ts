import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reach } from '../../../../src/deploy/watch/reach.ts';

test('it is told once of who does not answer for 10 s, and once that it is back', () => {
  const told: unknown[] = [];
  const reach = new Reach((...call) => told.push(call));
  reach.away('target', 'docker', 'gone', 1_000);
  reach.answered('target', 'docker');
  reach.away('target', 'docker', 'gone', 5_000);
  reach.away('target', 'docker', 'gone', 14_999);
  reach.away('host', 'docker', 'another of that name', 14_999);
  assert.deepEqual(told, [], 'short cuts are nobody’s business');
  assert.equal(reach.awaySince('target', 'docker'), 5_000);
  reach.away('target', 'docker', 'still gone', 15_000);
  reach.away('target', 'docker', 'still gone', 30_000);
  reach.answered('target', 'docker');
  reach.answered('target', 'docker');
  assert.deepEqual(told, [
    ['target', 'docker', 'still gone'],
    ['target', 'docker', undefined],
  ]);
  assert.equal(reach.awaySince('target', 'docker'), undefined);
});
