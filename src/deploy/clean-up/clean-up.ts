import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../../domain/app.ts';
import type { Build } from '../../domain/build.ts';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import type { Removal, RepositoryCleaner, RepositoryLook } from '../../image/registry/repository-cleaner.ts';
import type { DockerLeftovers, Leftover } from '../../run/docker/docker-leftovers.ts';
import type { BuildLogs } from '../../store/build-log.ts';
import type { BuildRecords } from '../build-records.ts';
import type { HostImages } from '../hosts/host-images.ts';
import { Locks } from '../lock.ts';
import type { KeptUpload } from '../uploads/uploads.ts';
import { type FactParts, gatherFacts } from './clean-up-facts.ts';
import { type AppDecision, type AppFacts, decideApp, decideImages, type ImageDecision } from './clean-up-rules.ts';
import type { ImageUse } from './image-use.ts';

/** How long after a deploy the pusher has all he waits for. */
const PAUSE_MS = 500;
const BASES = 'base/';

export interface CleanUpParts extends FactParts {
  logs: BuildLogs;
  records: BuildRecords;
  cleaner: RepositoryCleaner;
  imageUse: ImageUse;
  engine: DockerLeftovers;
  /** Copies that machines elsewhere have pulled. */
  hostImages: Pick<HostImages, 'remove'>;
  uploads: { list(app: { id: number }): KeptUpload[]; remove(app: { id: number }, sha256: string): void };
  units: { list(app: string): Promise<number[]>; removeRelease(app: string, release: number): Promise<void> };
  repositories: FactParts['repositories'] & {
    keptReleases(app: string): Promise<number[]>;
    dropRef(app: string, release: number): Promise<void>;
  };
  /** What the operator should read. */
  report(event: string, fields: Record<string, unknown>): void;
}

/** Everything that a clean-up removes, or would remove, and why the rest stays. */
export interface CleanUpReport {
  /** Apps of which nothing went, and why. */
  untouched: { app: string; why: string }[];
  removed: Thing[];
  /** Images that stay, each with all reasons. */
  kept: { name: string; why: string[] }[];
  /** What the operator should know or do. */
  notes: string[];
}

export interface Thing {
  kind: 'image' | 'release' | 'log' | 'upload' | 'units' | 'commit' | 'layer' | 'engine image' | 'engine volume';
  /** Reference of an image, `blog v3`, `blog build 7`. */
  name: string;
  /** undefined where it is not known. */
  bytes: number | undefined;
}

/** What is to be done, found out before anything is changed. */
interface Plan {
  images: ImageDecision[];
  apps: AppFacts[];
  decisions: AppDecision[];
  looks: RepositoryLook[];
  /** Images that go, by reference. */
  going: Map<string, PlanItem>;
  /** What else the engine has of ours. */
  engine: Leftover[];
  notes: string[];
}

/** Removes what nothing needs any more, by the rules of `keep`; one clean-up at a time, and beside everything else. */
export class CleanUp {
  readonly #parts: CleanUpParts;
  readonly #locks = new Locks();
  readonly #waiting = new Set<number>();
  #saidReadOnly = false;

  constructor(parts: CleanUpParts) {
    this.#parts = parts;
  }

  /** Keeps the record of a finished build, and then cleans up after it; errors are for the operator. */
  async after(build: Build): Promise<void> {
    await this.#parts.records.attach(build);
    await this.soon([build.appId]);
  }

  /** Cleans apps up in a moment, together with what else is asked for until then. */
  async soon(appIds: readonly number[]): Promise<void> {
    const isFirst = this.#waiting.size === 0;
    for (const id of appIds) this.#waiting.add(id);
    if (!isFirst || this.#waiting.size === 0) return;
    await sleep(PAUSE_MS, undefined, { ref: false });
    const asked = new Set(this.#waiting);
    this.#waiting.clear();
    const { removed, notes } = await this.run((app) => asked.has(app.id), false);
    for (const note of notes) this.#reportNote(note);
    if (removed.length > 0) this.#parts.report('cleaned up', countByKind(removed));
  }

  /** @param isDryRun finds out what would go, and changes nothing @throws DinpError unavailable */
  async run(isAsked: (app: App) => boolean, isDryRun: boolean): Promise<CleanUpReport> {
    return await this.#locks.hold('clean-up', async () => {
      if (!isDryRun)
        for (const app of this.#parts.store.apps.list())
          if (isAsked(app)) await this.#parts.records.attachMissing(app.id);
      const plan = await this.#plan(isAsked);
      const removed = isDryRun ? await this.#foresee(plan) : await this.#carryOut(plan);
      return {
        untouched: plan.apps
          .filter((app) => app.frozen !== undefined && this.#isAskedId(app.id, isAsked))
          .map((app) => ({ app: app.name, why: app.frozen! })),
        removed,
        kept: plan.images
          .filter((image) => image.reasons.length > 0)
          .map(({ image, reasons }) => ({ name: formatImageRef(image), why: reasons })),
        notes: plan.notes,
      };
    });
  }

  #isAskedId(id: number, isAsked: (app: App) => boolean): boolean {
    const app = this.#parts.store.apps.findById(id);
    return app !== undefined && isAsked(app);
  }

  async #plan(isAsked: (app: App) => boolean): Promise<Plan> {
    const { store, engine } = this.#parts;
    const { apps, images: known } = await gatherFacts(this.#parts, isAsked);
    const now = Date.now();
    const images = decideImages(apps, known, now);
    const plan: Plan = { images, apps, decisions: [], looks: [], going: new Map(), engine: [], notes: [] };
    await this.#lookAtRegistry(plan);
    const gone = new Set(plan.going.keys());
    plan.decisions = apps.map((app) => decideApp(app, images, gone, now));
    try {
      const copies = await engine.findImages([...plan.going.values()].map(({ decision }) => decision.image));
      for (const [name, item] of plan.going) item.copies = copies.get(name) ?? [];
      plan.engine = await engine.findAbandoned((id) => store.apps.findById(id) !== undefined);
    } catch (error) {
      plan.notes.push(`What is left in the engine was not looked at: ${(error as Error).message}`);
    }
    return plan;
  }

  /** Asks the registry about every image without a reason to stay; it may know one. */
  async #lookAtRegistry(plan: Plan): Promise<void> {
    const { records, cleaner } = this.#parts;
    const byRepository = Map.groupBy(plan.images, ({ image }) => records.pathOf(image.repository));
    for (const [repository, images] of byRepository) {
      const unneeded = images.filter(({ reasons }) => reasons.length === 0);
      if (unneeded.length === 0) continue;
      const keepAll = (reason: string) => unneeded.forEach(({ reasons }) => void reasons.push(reason));
      if (repository === undefined) keepAll('it is in another registry than ours');
      else if (repository.startsWith(BASES)) keepAll('it is a base');
      else if (!(await cleaner.canDelete(repository))) {
        keepAll('the registry does not allow deleting');
        plan.notes.push(readOnlyNote(images[0]!.image.repository.split('/')[0]!));
      } else await this.#lookAtRepository(plan, repository, images);
    }
    plan.notes = [...new Set(plan.notes)];
  }

  async #lookAtRepository(plan: Plan, repository: string, images: readonly ImageDecision[]): Promise<void> {
    const unneeded = images.filter(({ reasons }) => reasons.length === 0);
    const tagsOf = (image: ImageDecision) => image.madeBy.flatMap(({ tags }) => tags);
    const look = await this.#parts.cleaner.look(
      repository,
      unneeded.map((decision) => decision.image.digest),
      images.filter(({ reasons }) => reasons.length > 0).map(({ image }) => image.digest),
      new Set(images.flatMap(tagsOf)),
    );
    plan.looks.push(look);
    for (const decision of unneeded) {
      const removal = look.removals.find(({ digest }) => digest === decision.image.digest)!;
      if (removal.neededBy !== undefined) decision.reasons.push(`needed by ${removal.neededBy}`);
      else plan.going.set(formatImageRef(decision.image), { decision, repository, removal, copies: [] });
    }
  }

  async #foresee(plan: Plan): Promise<Thing[]> {
    const things: Thing[] = [...plan.going].map(([name, { removal }]) => ({
      kind: 'image',
      name,
      bytes: removal.bytes,
    }));
    for (const { repository, layers } of plan.looks)
      things.push(
        ...layers.map(({ tag }) => ({ kind: 'layer' as const, name: `${repository}:${tag}`, bytes: undefined })),
      );
    for (const decision of plan.decisions) {
      const { app } = decision;
      things.push(
        ...decision.releases.map((number) => ({ kind: 'release' as const, name: `${app.name} v${number}`, bytes: 0 })),
      );
      things.push(...this.#logsOf(decision), ...this.#uploadsOf(plan, decision).map(({ thing }) => thing));
      if (isFrozen(plan, app)) continue;
      const isGone = (number: number) => decision.releases.includes(number) || this.#isGone(app.id, number);
      things.push(...(await this.#tracesOf(app, isGone)));
    }
    const copies = [...plan.going.values()].flatMap((item) => item.copies);
    return [...things, ...[...copies, ...plan.engine].map(leftoverThing)];
  }

  /**
   * Removes it all, in an order in which a kill at any point loses nothing: a release is recorded as gone before its image
   * goes, and an image is forgotten only when the registry has it no more.
   */
  async #carryOut(plan: Plan): Promise<Thing[]> {
    const done: Thing[] = [];
    const images: ImageRef[] = [];
    for (const each of plan.going.values()) {
      const removed = await this.#removeImage(each);
      done.push(...removed);
      if (removed.length > 0) images.push(each.decision.image);
    }
    if (images.length > 0) await this.#parts.hostImages.remove(images);
    for (const look of plan.looks) done.push(...(await this.#removeLayers(look, plan)));
    for (const decision of plan.decisions) {
      if (isFrozen(plan, decision.app)) continue;
      const made = (id: number) => this.#parts.store.images.listOfBuild(id).length > 0;
      // A log whose image could not be removed after all stays with it.
      const logs = decision.logs.filter(({ id }) => !made(id));
      done.push(...this.#logsOf({ ...decision, logs }));
      for (const { id } of logs) this.#parts.logs.remove(id);
      done.push(...this.#removeUploads(plan, decision));
      const traces = await this.#tracesOf(decision.app, (number) => this.#isGone(decision.app.id, number));
      await this.#removeTraces(decision.app);
      done.push(...traces);
    }
    for (const left of plan.engine) if (await this.#removeLeftover(left)) done.push(leftoverThing(left));
    return done;
  }

  async #removeImage({ decision, repository, removal, copies }: PlanItem): Promise<Thing[]> {
    const { store, imageUse, cleaner } = this.#parts;
    const { image, madeBy } = decision;
    const done: Thing[] = [];
    await imageUse.whileUnused(repository.split('/')[0]!, async () => {
      // What has happened since the plan was made wins: a build made it again, a rollback runs it.
      const releases = store.releases.listUsing(image);
      const isUsed = releases.some(({ state }) => state === 'live' || state === 'pending');
      if (isUsed || store.images.listOfImage(image).length !== madeBy.length) return;
      store.transaction(() => releases.forEach((release) => void store.releases.setGone(release)));
      done.push(
        ...releases.map((release) => ({
          kind: 'release' as const,
          name: `${release.app} v${release.number}`,
          bytes: 0,
        })),
      );
      for (const copy of copies) if (await this.#removeLeftover(copy)) done.push(leftoverThing(copy));
      await cleaner.remove(repository, removal);
      store.images.remove(image);
      done.push({ kind: 'image', name: formatImageRef(image), bytes: removal.bytes });
    });
    return done;
  }

  /** What the engine does not give away now stays for good, and does no harm but to its disk. */
  async #removeLeftover(left: Leftover): Promise<boolean> {
    return await this.#parts.engine.remove(left).catch(() => false);
  }

  async #removeLayers({ repository, layers }: RepositoryLook, plan: Plan): Promise<Thing[]> {
    const { store, imageUse, cleaner, records } = this.#parts;
    const newest = Math.max(0, ...plan.images.flatMap(({ madeBy }) => madeBy.map(({ buildId }) => buildId)));
    const done: Thing[] = [];
    for (const { tag, digest } of layers) {
      await imageUse.whileUnused(repository.split('/')[0]!, async () => {
        const isNew = store.images
          .list()
          .some(({ image, buildId }) => buildId > newest && records.pathOf(image.repository) === repository);
        if (isNew) return;
        await cleaner.removeLayer(repository, digest);
        done.push({ kind: 'layer', name: `${repository}:${tag}`, bytes: undefined });
      });
    }
    return done;
  }

  #logsOf({ app, logs }: AppDecision): Thing[] {
    return logs
      .filter(({ id }) => this.#parts.logs.has(id))
      .map(({ id, number }) => ({
        kind: 'log',
        name: `${app.name} build ${number}`,
        bytes: this.#parts.logs.size(id),
      }));
  }

  #uploadsOf(plan: Plan, { app, uploads }: AppDecision): { sha256: string; thing: Thing }[] {
    if (isFrozen(plan, app)) return [];
    return this.#parts.uploads
      .list(app)
      .filter(({ sha256 }) => !uploads.has(sha256))
      .map(({ sha256, size }) => ({
        sha256,
        thing: { kind: 'upload', name: `${app.name} ${sha256.slice(0, 12)}`, bytes: size },
      }));
  }

  #removeUploads(plan: Plan, decision: AppDecision): Thing[] {
    const { store, uploads } = this.#parts;
    const known = plan.apps.find(({ id }) => id === decision.app.id)?.builds[0]?.id;
    // A build that came since may be of a file that nothing needed before.
    if (store.builds.findLatest(decision.app.id)?.id !== known) return [];
    return this.#uploadsOf(plan, decision).map(({ sha256, thing }) => {
      uploads.remove(decision.app, sha256);
      return thing;
    });
  }

  /** Unit files and kept commits of releases that can never run again. */
  async #tracesOf(app: { id: number; name: string }, isGone: (release: number) => boolean): Promise<Thing[]> {
    const { units, repositories } = this.#parts;
    const name = (release: number) => `${app.name} v${release}`;
    const folders = (await units.list(app.name)).filter(isGone);
    const commits = (await repositories.keptReleases(app.name)).filter(isGone);
    return [
      ...folders.map((release) => ({ kind: 'units' as const, name: name(release), bytes: undefined })),
      ...commits.map((release) => ({ kind: 'commit' as const, name: name(release), bytes: undefined })),
    ];
  }

  async #removeTraces(app: { id: number; name: string }): Promise<void> {
    const { units, repositories } = this.#parts;
    const isGone = (release: number) => this.#isGone(app.id, release);
    for (const release of (await units.list(app.name)).filter(isGone)) await units.removeRelease(app.name, release);
    for (const release of (await repositories.keptReleases(app.name)).filter(isGone))
      await repositories.dropRef(app.name, release);
  }

  #isGone(appId: number, release: number): boolean {
    return this.#parts.store.releases.find(appId, release)?.state === 'gone';
  }

  /** That a registry takes no deletions is true at every clean-up, and said once. */
  #reportNote(note: string): void {
    const isReadOnly = note.startsWith(READ_ONLY);
    if (isReadOnly && this.#saidReadOnly) return;
    this.#saidReadOnly ||= isReadOnly;
    this.#parts.report('clean-up could not do all', { why: note });
  }
}

interface PlanItem {
  decision: ImageDecision;
  repository: string;
  removal: Removal;
  /** Names of the engine's copies. */
  copies: Leftover[];
}

const READ_ONLY = 'The registry';

function readOnlyNote(address: string): string {
  return `${READ_ONLY} ${address} does not allow deleting, so that no image is removed. For docker-registry, set storage.delete.enabled: true in its config (or REGISTRY_STORAGE_DELETE_ENABLED=true) and start it again.`;
}

function isFrozen(plan: Plan, { id }: { id: number }): boolean {
  return plan.apps.some((app) => app.id === id && app.frozen !== undefined);
}

function leftoverThing({ kind, name, bytes }: Leftover): Thing {
  return { kind: `engine ${kind}`, name, bytes };
}

function countByKind(things: readonly Thing[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of things) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
