import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type AppFacts,
  decideApp,
  decideImages,
  type ImageFacts,
} from '../../../../src/deploy/clean-up/clean-up-rules.ts';
import type { BuildState } from '../../../../src/domain/build.ts';
import { formatImageRef, type ImageRef } from '../../../../src/domain/image-ref.ts';
import type { KeepRules } from '../../../../src/domain/keep.ts';
import type { ReleaseService, ReleaseState } from '../../../../src/domain/release.ts';
import { sourceTag } from '../../../../src/domain/source.ts';

const DAY = 86_400_000;
const NOW = 1_000 * DAY;
const NOTHING: KeepRules = { branch: 0, commits: 0, tags: 0, days: 0 };

const imageOf = (n: number, app = 'shop'): ImageRef => ({ repository: `r/${app}`, digest: `sha256:${n}` });
const shaOf = (n: number) => n.toString(16).padStart(40, '0');

/** An app whose build and release n made image n, n days after the first; the last one is live. */
function history(count: number, changes: Partial<AppFacts> = {}): { app: AppFacts; images: ImageFacts[] } {
  const numbers = Array.from({ length: count }, (_, i) => count - i);
  const source = (n: number) => ({ kind: 'commit' as const, sha: shaOf(n), ref: 'refs/heads/main' });
  const at = (n: number) => NOW - (count - n + 1) * DAY;
  const app: AppFacts = {
    id: 1,
    name: 'shop',
    frozen: undefined,
    keep: NOTHING,
    releases: numbers.map((n) => ({
      number: n,
      state: n === count ? 'live' : 'past',
      buildId: n,
      createdAt: at(n),
      services: [{ image: imageOf(n) } as ReleaseService],
    })),
    builds: numbers.map((n) => ({
      id: n,
      number: n,
      source: source(n),
      state: 'succeeded',
      createdAt: at(n),
      finishedAt: at(n),
    })),
    instancesOf: new Set(),
    tagged: [],
    ...changes,
  };
  const images = numbers.map((n) => ({
    image: imageOf(n),
    madeBy: [{ appId: 1, buildId: n, tags: [sourceTag(source(n))] }],
  }));
  return { app, images };
}

function staying(app: AppFacts, images: ImageFacts[]): number[] {
  return decideImages([app], images, NOW)
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ image }) => Number(image.digest.slice(7)))
    .sort((a, b) => a - b);
}

test('with every rule off, the live release and the five that served before it stay', () => {
  const { app, images } = history(20);
  assert.deepEqual(staying(app, images), [15, 16, 17, 18, 19, 20]);
});

test('each rule keeps what it says, beside those', () => {
  const kept = (keep: Partial<KeepRules>, changes: Partial<AppFacts> = {}) => {
    const { app, images } = history(20, { keep: { ...NOTHING, ...keep }, ...changes });
    return staying(app, images).filter((n) => n < 15);
  };
  assert.deepEqual(kept({ commits: 8 }), [13, 14]);
  assert.deepEqual(kept({ days: 8 }), [14]);
  assert.deepEqual(kept({ branch: 7 }), [14]);
  assert.deepEqual(kept({ tags: 1 }, { tagged: [shaOf(3), shaOf(2)] }), [3]);
  assert.deepEqual(kept({}, { instancesOf: new Set([4]) }), [4]);
});

test('branches count on their own; a commit that was built twice counts once, its newest image', () => {
  const { app, images } = history(12);
  const builds = app.builds.map((build) => ({
    ...build,
    source: {
      kind: 'commit' as const,
      sha: build.id === 2 || build.id === 1 ? shaOf(2) : shaOf(build.id),
      ref: build.id <= 4 ? 'refs/heads/old' : 'refs/heads/main',
    },
  }));
  const kept = staying({ ...app, builds, keep: { ...NOTHING, branch: 3 } }, images);
  assert.deepEqual(
    kept.filter((n) => n < 6),
    [2, 3, 4],
  );
});

test('an image says all reasons that keep it', () => {
  const { app, images } = history(2, { keep: { branch: 1, commits: 1, tags: 1, days: 2 }, tagged: [shaOf(2)] });
  const [live] = decideImages([app], images, NOW);
  assert.deepEqual(live!.reasons, [
    'v2 of shop is live',
    'v2 of shop is younger than 2 days',
    'build #2 of shop is younger than 2 days',
    'commit 0000000 of shop is one of the newest 1',
    'commit 0000000 of shop is one of the newest 1 of main',
    'commit 0000000 of shop has one of the newest 1 tags',
  ]);
});

test('what another app runs stays; what only a removed app had goes', () => {
  const { app, images } = history(10);
  const other = { ...history(1).app, id: 2, name: 'blog', builds: [] };
  const ofOther = {
    ...other,
    releases: [{ ...other.releases[0]!, services: [{ image: imageOf(1) } as ReleaseService] }],
  };
  const decided = decideImages([app, ofOther], images, NOW);
  assert.deepEqual(decided.find(({ image }) => image.digest === 'sha256:1')!.reasons, ['v1 of blog is live']);
  const removed = [{ image: imageOf(99), madeBy: [{ appId: 77, buildId: 99, tags: [] }] }];
  assert.deepEqual(decideImages([app], removed, NOW)[0]!.reasons, []);
});

test('with its image goes the release; logs and uploads go with the last image of their build', () => {
  const { app, images } = history(29);
  const upload = (name: string) => ({ kind: 'upload' as const, sha256: name.repeat(64), filename: 'a.war' });
  const uploads = new Map([1, 29].map((n) => [n, upload('a')])).set(2, upload('b'));
  const builds = app.builds.map((build) => ({ ...build, source: uploads.get(build.id) ?? build.source }));
  const going = new Set([1, 2, 3].map((n) => formatImageRef(imageOf(n))));
  const decision = decideApp({ ...app, builds }, images, going, NOW);
  assert.deepEqual(decision.releases, [3, 2, 1]);
  assert.deepEqual(
    decision.logs.map(({ id }) => id),
    [3, 2, 1],
  );
  assert.deepEqual([...decision.uploads], [upload('a').sha256]);
  const frozen = decideApp({ ...app, builds, frozen: 'no answer' }, images, going, NOW);
  assert.deepEqual([frozen.releases, frozen.logs, frozen.uploads.size], [[], [], 2]);
});

test('logs of builds without an image stay by count and by age; those of the newest 20 builds always', () => {
  const logs = (keep: Partial<KeepRules>) => {
    const { app } = history(30, { keep: { ...NOTHING, ...keep } });
    return decideApp(app, [], new Set(), NOW).logs.map(({ id }) => id);
  };
  assert.deepEqual(logs({}), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual(logs({ commits: 28 }), [2, 1]);
  assert.deepEqual(logs({ days: 28 }), [3, 2, 1]);
});

const states = fc.constantFrom<ReleaseState>('past', 'failed', 'past', 'past', 'pending');
const buildStates = fc.constantFrom<BuildState>('succeeded', 'failed', 'succeeded', 'running', 'waiting');
const world = fc
  .record({
    keep: fc.record({
      branch: fc.nat(4),
      commits: fc.nat(8),
      tags: fc.nat(3),
      days: fc.nat(20),
    }),
    rows: fc.array(
      fc.record({
        image: fc.nat(12),
        source: fc.nat(6),
        branch: fc.nat(2),
        age: fc.nat(40),
        state: states,
        build: buildStates,
      }),
      { maxLength: 25 },
    ),
    instances: fc.array(fc.nat(25), { maxLength: 3 }),
    tagged: fc.array(fc.nat(6), { maxLength: 4 }),
    isFrozen: fc.constantFrom(false, false, false, true),
    isLive: fc.boolean(),
  })
  .map(({ keep, rows, instances, tagged, isFrozen, isLive }) => {
    const builds = rows.map((row, i) => ({
      id: i + 1,
      number: i + 1,
      source: { kind: 'commit' as const, sha: shaOf(row.source), ref: `refs/heads/b${row.branch}` },
      state: row.build,
      createdAt: NOW - row.age * DAY,
      finishedAt: undefined,
    }));
    const releases = rows.map((row, i) => ({
      number: i + 1,
      state: isLive && i === rows.length - 1 ? ('live' as const) : row.state,
      buildId: i + 1,
      createdAt: NOW - row.age * DAY,
      services: [{ image: imageOf(row.image) } as ReleaseService],
    }));
    const app: AppFacts = {
      id: 1,
      name: 'shop',
      frozen: isFrozen ? 'its target does not answer' : undefined,
      keep,
      releases: releases.toReversed(),
      builds: builds.toReversed(),
      instancesOf: new Set(instances),
      tagged: tagged.map(shaOf),
    };
    const images = [...new Set(rows.map(({ image }) => image))].map((image) => ({
      image: imageOf(image),
      madeBy: rows.flatMap((row, i) =>
        row.image === image ? { appId: 1, buildId: i + 1, tags: [sourceTag(builds[i]!.source)] } : [],
      ),
    }));
    return { app, images };
  });

test('property: nothing goes that is live, pending, running, building, young, of the last five, or of a frozen app', () => {
  fc.assert(
    fc.property(world, ({ app, images }) => {
      const going = new Set(
        decideImages([app], images, NOW)
          .filter(({ reasons }) => reasons.length === 0)
          .map(({ image }) => formatImageRef(image)),
      );
      if (app.frozen !== undefined) assert.equal(going.size, 0);
      const lastFive = app.releases.filter(({ state }) => state === 'past').slice(0, 5);
      for (const release of app.releases) {
        const isNeeded =
          release.state === 'live' ||
          release.state === 'pending' ||
          app.instancesOf.has(release.number) ||
          lastFive.includes(release) ||
          NOW - release.createdAt < app.keep.days * DAY;
        for (const { image } of release.services) if (isNeeded) assert.ok(!going.has(formatImageRef(image)));
      }
      for (const build of app.builds) {
        const made = images.filter(({ madeBy }) => madeBy.some(({ buildId }) => buildId === build.id));
        const isOpen = build.state === 'running' || build.state === 'waiting';
        if (isOpen) for (const { image } of made) assert.ok(!going.has(formatImageRef(image)));
      }
      const decision = decideApp(app, images, going, NOW);
      for (const number of decision.releases) {
        const release = app.releases.find((each) => each.number === number)!;
        assert.ok(release.state === 'past' || release.state === 'failed');
        assert.ok(release.services.some(({ image }) => going.has(formatImageRef(image))));
      }
      for (const { id } of decision.logs) assert.ok(!app.builds.some((b) => b.id === id && b.state === 'running'));
    }),
    { numRuns: 2_000 },
  );
});

test('property: a larger keep never removes more', () => {
  fc.assert(
    fc.property(
      world,
      fc.constantFrom('branch', 'commits', 'tags', 'days'),
      fc.nat(5),
      ({ app, images }, rule, more) => {
        const goes = (facts: AppFacts) =>
          decideImages([facts], images, NOW).flatMap(({ image, reasons }) =>
            reasons.length === 0 ? image.digest : [],
          );
        const less = new Set(goes(app));
        const larger = {
          ...app,
          keep: { ...app.keep, [rule as keyof KeepRules]: app.keep[rule as keyof KeepRules] + more },
        };
        for (const digest of goes(larger)) assert.ok(less.has(digest));
      },
    ),
    { numRuns: 1_000 },
  );
});
