import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildEvent, instanceEvent, reachEvent, releaseEvent } from '../../../../src/deploy/watch/events.ts';
import { firstSeen } from '../../../../src/deploy/watch/health-rules.ts';
import type { Build } from '../../../../src/domain/build.ts';
import type { InstanceSpec } from '../../../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../../../src/domain/process.ts';
import type { Release } from '../../../../src/domain/release.ts';

const COMMIT = { kind: 'commit', sha: '3f2a91c04bd1c2a9b1f0e4d35c6b7a8990123456', ref: 'refs/heads/main' } as const;
const BUILD = { app: 'shop', number: 12, source: COMMIT, by: 'alice', release: 7, reason: undefined } as Build;

test('a build that went live, and one that failed; of canceled and superseded ones nobody is told', () => {
  const good = buildEvent({ ...BUILD, state: 'succeeded' })!;
  assert.equal(good.event, 'deploy.succeeded');
  assert.equal(good.text, 'shop: v7 is live (commit 3f2a91c, by alice)');
  const bad = buildEvent({ ...BUILD, state: 'failed', release: undefined, reason: 'no war' })!;
  assert.equal(bad.event, 'deploy.failed');
  assert.equal(bad.text, 'shop: deploy failed (commit 3f2a91c, by alice): no war');
  assert.deepEqual(bad.more, {
    deploy: {
      ...{ cause: 'deploy', build: 12, release: null, source: 'commit 3f2a91c', commit: COMMIT.sha, branch: 'main' },
      ...{ by: 'alice', reason: 'no war' },
    },
  });
  assert.equal(buildEvent({ ...BUILD, state: 'canceled' }), undefined);
  assert.equal(buildEvent({ ...BUILD, state: 'superseded' }), undefined);
});

test('a rollback says what it is, and never a config value', () => {
  const release = {
    ...{ app: 'shop', cause: 'rollback', number: 8, by: 'bob', config: { PASSWORD: 'hunter2' } },
    source: { kind: 'image', reference: 'registry.example.com/shop:7' },
  } as unknown as Release;
  const event = releaseEvent(release, undefined);
  assert.equal(event.text, 'shop: v8 is live (image registry.example.com/shop:7, rollback, by bob)');
  assert.partialDeepStrictEqual(event.more, { deploy: { cause: 'rollback', build: null, release: 8, commit: null } });
  assert.doesNotMatch(JSON.stringify(event), /hunter2/);
});

test('instances and what they run on', () => {
  const spec = { name: 'dinp-shop--web--v7--2', app: 'shop', process: 'web', index: 2, release: 7 } as InstanceSpec;
  const well = firstSeen(1, DEFAULT_HEALTH);
  const failing = instanceEvent(spec, { ...well, failingSince: 2, problem: 'answered 500 to GET /', restarts: 1 });
  assert.deepEqual([failing.event, failing.text], ['instance.failing', 'shop: web.2 fails: it answered 500 to GET /']);
  assert.partialDeepStrictEqual(failing.more, {
    instance: { host: null, problem: 'answered 500 to GET /', restarts: 1 },
  });
  assert.equal(instanceEvent(spec, well).event, 'instance.recovered');
  assert.deepEqual(reachEvent('host', 'web1', 'it does not answer over SSH'), {
    event: 'host.unreachable',
    text: 'the host web1 does not answer: it does not answer over SSH',
    app: undefined,
    more: { host: { name: 'web1', problem: 'it does not answer over SSH' } },
  });
  assert.equal(reachEvent('router', 'http://127.0.0.1:2019', undefined).text, 'the router answers again');
});
