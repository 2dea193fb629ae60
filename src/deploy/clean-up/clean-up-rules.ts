import type { Build } from '../../domain/build.ts';
import { isFinished } from '../../domain/build.ts';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import type { KeepRules } from '../../domain/keep.ts';
import type { Release } from '../../domain/release.ts';
import { describeSource, shortSource, sourceTag } from '../../domain/source.ts';

/** Releases besides the live one that can always be gone back to. */
const LAST_SERVED = 5;
/** Newest builds whose logs always stay. */
const LAST_LOGS = 20;
const DAY_MS = 86_400_000;

/** All that decides what of an app may go. */
export interface AppFacts {
  id: number;
  name: string;
  /** Why nothing of it may go now; undefined where it may. */
  frozen: string | undefined;
  keep: KeepRules;
  /** Newest first, without those that are gone. */
  releases: readonly Pick<Release, 'number' | 'state' | 'buildId' | 'createdAt' | 'services'>[];
  /** Newest first. */
  builds: readonly Pick<Build, 'id' | 'number' | 'source' | 'state' | 'createdAt' | 'finishedAt'>[];
  /** Numbers of the releases of which instances were found, running or not. */
  instancesOf: ReadonlySet<number>;
  /** Commits of git tags, the newest tag first. */
  tagged: readonly string[];
}

/** An image that builds made: which, of whose. */
export interface ImageFacts {
  image: ImageRef;
  /** At least one; of apps that may be gone. */
  madeBy: readonly { appId: number; buildId: number; tags: readonly string[] }[];
}

/** An image, and why it stays; it goes where there is no reason. */
export interface ImageDecision extends ImageFacts {
  reasons: string[];
}

/** A build's log that nothing needs any more, or a release that can never run again. */
export interface AppDecision {
  app: Pick<AppFacts, 'id' | 'name'>;
  /** Numbers of releases that lose an image. */
  releases: number[];
  /** Builds whose logs go. */
  logs: { id: number; number: number }[];
  /** Uploads that must stay, by SHA-256. */
  uploads: Set<string>;
}

/**
 * Decides about images: each rule gives reasons to keep, and what has none goes. What is live, pending, running or being
 * built, and the last five releases that served, always have one. An image of an app that was removed has none of it.
 * @param now milliseconds since the epoch
 */
export function decideImages(apps: readonly AppFacts[], images: readonly ImageFacts[], now: number): ImageDecision[] {
  const byImage = new Map<string, string[]>();
  const byBuild = new Map<number, string[]>();
  for (const app of apps) {
    for (const [reason, image] of releaseReasons(app, now)) push(byImage, formatImageRef(image), reason);
    for (const [reason, buildId] of buildReasons(app, images, now)) push(byBuild, buildId, reason);
  }
  return images.map((facts) => {
    const reasons = [
      ...(byImage.get(formatImageRef(facts.image)) ?? []),
      ...facts.madeBy.flatMap(({ buildId }) => byBuild.get(buildId) ?? []),
      ...frozenReasons(apps, facts),
      ...unfinishedReasons(apps, facts),
    ];
    return { ...facts, reasons: [...new Set(reasons)] };
  });
}

/**
 * Decides what else of an app goes, once it is known which images do.
 * @param going references (`repository@digest`) of images that go for sure
 * @param images all that are known, those that go among them
 */
export function decideApp(
  app: AppFacts,
  images: readonly ImageFacts[],
  going: ReadonlySet<string>,
  now: number,
): AppDecision {
  const { id, name } = app;
  if (app.frozen !== undefined) return { app: { id, name }, releases: [], logs: [], uploads: allUploads(app) };
  const staying = new Set(
    images
      .filter(({ image }) => !going.has(formatImageRef(image)))
      .flatMap(({ madeBy }) => madeBy.map(({ buildId }) => buildId)),
  );
  const making = new Set(images.flatMap(({ madeBy }) => madeBy.map(({ buildId }) => buildId)));
  const isNeeded = (build: AppFacts['builds'][number]) =>
    !isFinished(build.state) ||
    staying.has(build.id) ||
    (!making.has(build.id) && isYoung(build.finishedAt ?? build.createdAt, app.keep, now));
  const needed = app.builds.filter(isNeeded);
  // Why a build failed is asked for soon after it, whatever is kept of images.
  const read = new Set([...app.builds.slice(0, Math.max(app.keep.commits, LAST_LOGS)), ...needed]);
  return {
    app: { id, name },
    releases: app.releases
      .filter(
        (release) => isOver(release.state) && release.services.some((each) => going.has(formatImageRef(each.image))),
      )
      .map((release) => release.number),
    logs: app.builds.filter((build) => !read.has(build)).map((build) => ({ id: build.id, number: build.number })),
    uploads: allUploads({ builds: needed }),
  };
}

function* releaseReasons(app: AppFacts, now: number): Generator<[string, ImageRef]> {
  const served = app.releases.filter((release) => release.state === 'past').slice(0, LAST_SERVED);
  for (const release of app.releases) {
    const name = `v${release.number} of ${app.name}`;
    const reasons = [
      app.frozen === undefined ? undefined : `${name}: ${app.frozen}`,
      isOver(release.state) ? undefined : `${name} is ${release.state}`,
      app.instancesOf.has(release.number) ? `an instance of ${name} is there` : undefined,
      served.includes(release) ? `${name} is one of the last ${LAST_SERVED} that served before` : undefined,
      isYoung(release.createdAt, app.keep, now) ? `${name} is younger than ${app.keep.days} days` : undefined,
    ].filter((reason) => reason !== undefined);
    for (const { image } of release.services) for (const reason of reasons) yield [reason, image];
  }
}

function* buildReasons(app: AppFacts, images: readonly ImageFacts[], now: number): Generator<[string, number]> {
  const making = new Set(images.flatMap(({ madeBy }) => madeBy.map(({ buildId }) => buildId)));
  const sources = new Set<string>();
  const branches = new Map<string, Set<string>>();
  const tagged = new Set(app.tagged.slice(0, app.keep.tags));
  for (const build of app.builds) {
    if (!making.has(build.id)) continue;
    const { source } = build;
    const what = `${describeSource(source)} of ${app.name}`;
    if (isYoung(build.finishedAt ?? build.createdAt, app.keep, now))
      yield [`build #${build.number} of ${app.name} is younger than ${app.keep.days} days`, build.id];
    // The newest build of a source stands for it; older ones of the same commit may have made another image of it.
    const tag = sourceTag(source);
    if (sources.has(tag)) continue;
    sources.add(tag);
    if (sources.size <= app.keep.commits) yield [`${what} is one of the newest ${app.keep.commits}`, build.id];
    if (source.kind !== 'commit') continue;
    const branch = source.ref.replace('refs/heads/', '');
    const ofBranch = branches.get(source.ref) ?? new Set();
    branches.set(source.ref, ofBranch.add(tag));
    if (ofBranch.size <= app.keep.branch)
      yield [`${what} is one of the newest ${app.keep.branch} of ${branch}`, build.id];
    if (tagged.has(source.sha)) yield [`${what} has one of the newest ${app.keep.tags} tags`, build.id];
  }
}

function frozenReasons(apps: readonly AppFacts[], { madeBy }: ImageFacts): string[] {
  return apps
    .filter((app) => app.frozen !== undefined && madeBy.some(({ appId }) => appId === app.id))
    .map((app) => `${app.name}: ${app.frozen}`);
}

/** A build that waits or runs may take any image of its commit, and the one that it just made is in no release yet. */
function unfinishedReasons(apps: readonly AppFacts[], { madeBy }: ImageFacts): string[] {
  return apps.flatMap((app) =>
    app.builds
      .filter((build) => !isFinished(build.state))
      .filter(({ id, source }) =>
        madeBy.some((made) => made.buildId === id || (made.appId === app.id && made.tags.includes(sourceTag(source)))),
      )
      .map((build) => `build #${build.number} of ${app.name} (${shortSource(build.source)}) is not over`),
  );
}

function allUploads({ builds }: Pick<AppFacts, 'builds'>): Set<string> {
  return new Set(builds.flatMap(({ source }) => (source.kind === 'upload' ? source.sha256 : [])));
}

function isOver(state: Release['state']): boolean {
  return state === 'past' || state === 'failed' || state === 'gone';
}

function isYoung(at: number, keep: KeepRules, now: number): boolean {
  return now - at < keep.days * DAY_MS;
}

function push<Key>(map: Map<Key, string[]>, key: Key, reason: string): void {
  const list = map.get(key);
  if (list) list.push(reason);
  else map.set(key, [reason]);
}
