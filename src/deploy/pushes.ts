import type { App } from '../domain/app.ts';
import { type Build, isFinished } from '../domain/build.ts';
import { DinpError } from '../domain/errors.ts';
import { type Identity, mayUse } from '../domain/identity.ts';
import { nearest, parseAppName, printable } from '../domain/names.ts';
import type { PushOutcome, RefCommand } from '../domain/ref-command.ts';
import { shortSource } from '../domain/source.ts';
import type { BuildLogs } from '../store/build-log.ts';
import type { NewBuild } from '../store/builds.ts';
import type { Store } from '../store/store.ts';
import type { Addresses } from './addresses.ts';
import type { InstanceStatus } from './operations.ts';
import { type BuildQueue, describeEnd } from './queue.ts';
import {
  deployBranchOf,
  isZero,
  judgePush,
  judgeRef,
  parsePushOptions,
  REDEPLOY_REF,
  type Verdict,
} from './ref-rules.ts';

/** What the pushes need of the repositories. */
export interface PushRepositories {
  path(app: string): string;
  readRef(app: string, ref: string): Promise<string | undefined>;
  listRefs(app: string, prefix: string): Promise<{ name: string; oid: string }[]>;
  setHead(app: string, branch: string): Promise<void>;
}

export interface PushParts {
  store: Store;
  queue: BuildQueue;
  logs: BuildLogs;
  addresses: Addresses;
  /** What should run of an app, and what does. @throws DinpError unavailable */
  instances(app: App): Promise<InstanceStatus[]>;
  repositories: PushRepositories;
  /** Makes row and repository of a new app. */
  createApp(name: string): Promise<App>;
  /** Removes an app that nothing was pushed to. */
  discardApp(app: App): Promise<void>;
  /** Whether a first push may create its app. */
  createOnPush: boolean;
}

/** Where the pusher reads, and whether he still does. */
export interface Watcher {
  write(text: string | Uint8Array): Promise<void>;
  signal: AbortSignal;
}

/** What pushes come to: which repository they reach, which refs may move, and what is built and told of it. */
export class Pushes {
  readonly #parts: PushParts;
  /** How many sessions watch each unfinished build. */
  readonly #watchers = new Map<number, number>();
  /** Apps that a session's opening created and that got nothing yet, with how many sessions have opened them. */
  readonly #fresh = new Map<number, number>();

  constructor(parts: PushParts) {
    this.#parts = parts;
  }

  /**
   * The app that a session names, created where a first push may do that.
   * @throws DinpError not-found or denied, with the command to type
   */
  async open(identity: Identity, name: string, pushes: boolean): Promise<App> {
    const known = this.#parts.store.apps.find(name);
    if (known && mayUse(identity, known.name)) {
      const sessions = this.#fresh.get(known.id);
      if (sessions !== undefined) this.#fresh.set(known.id, sessions + 1);
      return known;
    }
    if (known || identity.role !== 'admin') {
      // A deployer learns nothing of apps that are not his.
      throw new DinpError('denied', `${identity.name} may not use an app named ${name}.`, {
        hint:
          identity.apps.length > 0
            ? `This key may use: ${identity.apps.join(', ')}.`
            : 'This key may use no app yet; ask an admin.',
      });
    }
    if (pushes) parseAppName(name);
    if (pushes && this.#parts.createOnPush) {
      const app = await this.#parts.createApp(name);
      this.#fresh.set(app.id, (this.#fresh.get(app.id) ?? 0) + 1);
      return app;
    }
    const near = nearest(
      name,
      this.#parts.store.apps.list().map((app) => app.name),
    );
    throw new DinpError('not-found', `there is no app ${name}.${near ? ` Did you mean ${near}?` : ''}`, {
      hint: `To create it: dinp apps create ${name}`,
    });
  }

  /** Judges what hooks ask: a push as a whole (`ref` undefined) or one ref of it. */
  async judge(appName: string, asked: RefCommand[], options: string[], ref: RefCommand | undefined): Promise<Verdict> {
    const app = this.#parts.store.apps.find(appName);
    if (!app) return { ok: false, text: `The app ${appName} was removed meanwhile.`, reason: 'no such app' };
    const branch = deployBranchOf({ app, asked });
    const needsTip = asked.some((command) => command.ref === REDEPLOY_REF) && branch !== undefined;
    const tip = needsTip ? await this.#parts.repositories.readRef(appName, `refs/heads/${branch}`) : undefined;
    const context = { app, asked, options, tip };
    return ref === undefined ? judgePush(context) : judgeRef(context, ref);
  }

  /**
   * Deploys what a push brought and lets the pusher watch; the build is recorded before anything else, whoever
   * watches. Gives the exit status of the push: 0 when the commit is live.
   */
  async settle(appName: string, identity: Identity, outcome: PushOutcome, watcher: Watcher): Promise<number> {
    const app = this.#parts.store.apps.find(appName);
    if (!app) {
      await watcher.write(`The app ${appName} was removed meanwhile.\n`);
      return 1;
    }
    if (this.#isUnused(app, outcome)) {
      await this.#parts.discardApp(app);
      if (outcome.asked.length === 0)
        await watcher.write(`There is no app ${app.name} yet: the first push creates it, and its branch deploys.\n`);
      return outcome.asked.length === 0 ? 0 : outcome.status === 0 ? 1 : outcome.status;
    }
    const build = outcome.applied.length > 0 ? await this.#takeUp(app, outcome, identity.name) : undefined;
    await this.#tellUnwatched(app, watcher);
    if (build) return await this.#watchPushed(app, build, outcome, watcher);
    if (outcome.applied.length > 0) return await this.#tellStored(app, outcome, watcher);
    if (outcome.asked.length > 0) return outcome.status === 0 ? 1 : outcome.status;
    return await this.#tellUpToDate(app, identity, watcher);
  }

  /** Tells where a build that waits stands, and then as `watch`. */
  async watchTurn(build: Build, watcher: Watcher): Promise<number> {
    await this.#tellPosition(build, watcher);
    return await this.watch(build, watcher);
  }

  /** Lets somebody read a build from its start to its end. Gives 0 when it released. */
  async watch(build: Build, watcher: Watcher): Promise<number> {
    const { store, logs, queue } = this.#parts;
    this.#watchers.set(build.id, (this.#watchers.get(build.id) ?? 0) + 1);
    try {
      for await (const chunk of logs.follow(build.id, watcher.signal)) await watcher.write(chunk);
      const end = queue.get(build.id);
      const left = watcher.signal.aborted || !isFinished(end.state);
      if (left) {
        if (this.#watchers.get(build.id) === 1) store.builds.setUnwatched(build.id, true);
      } else {
        if (logs.isCut(build.id) || queue.isUnrecorded(build.id))
          await watcher.write(`The server's disk is full. Build #${build.number} ${describeEnd(end)}.\n`);
        if (end.unwatched) store.builds.setUnwatched(build.id, false);
      }
      return end.state === 'succeeded' ? 0 : 1;
    } finally {
      const count = this.#watchers.get(build.id)! - 1;
      if (count === 0) this.#watchers.delete(build.id);
      else this.#watchers.set(build.id, count);
    }
  }

  /**
   * Finds refs that moved without a build, as a killed server or worker leaves them, and builds them.
   * Gives the builds it made.
   */
  async recover(app: App): Promise<Build[]> {
    const branch = app.deployBranch ?? (await this.#onlyBranch(app));
    if (branch === undefined) return [];
    if (app.deployBranch === undefined) await this.#decideBranch(app, branch);
    const sha = await this.#parts.repositories.readRef(app.name, `refs/heads/${branch}`);
    const last = this.#parts.store.builds.findLatestPush(app.id)?.source;
    if (sha === undefined || (last?.kind === 'commit' && last.sha === sha)) return [];
    const build = this.#record(this.#parts.store.apps.findById(app.id)!, {
      sha,
      ref: `refs/heads/${branch}`,
      noCache: false,
      by: 'recovery',
    });
    return [build];
  }

  /**
   * git tells what it pushes only after it has been shown a repository, so that a dry run or a refused push has made
   * an app: it goes again, unless somebody else has opened it meanwhile.
   */
  #isUnused(app: App, outcome: PushOutcome): boolean {
    const sessions = this.#fresh.get(app.id);
    this.#fresh.delete(app.id);
    return outcome.applied.length === 0 && sessions === 1;
  }

  /** Records the build that a push calls for; undefined where it moved nothing that deploys. */
  async #takeUp(app: App, outcome: PushOutcome, by: string): Promise<Build | undefined> {
    const branch = deployBranchOf({ app, asked: outcome.applied });
    if (branch === undefined) return undefined;
    if (app.deployBranch === undefined) await this.#decideBranch(app, branch);
    const ref = `refs/heads/${branch}`;
    const command = outcome.applied.find(
      (applied) => (applied.ref === ref || applied.ref === REDEPLOY_REF) && !isZero(applied.new),
    );
    if (!command) return undefined;
    const { noCache } = parsePushOptions(outcome.options);
    const build = { sha: command.new, ref, noCache, by };
    const newer = app.deploys ? await this.#findNewer(app, build) : undefined;
    return newer ? this.#parts.queue.submitSuperseded(toNewBuild(app, build), newer) : this.#record(app, build);
  }

  /** Two pushes may be taken up in another order than they moved the branch: the build of what it holds now, where that is not this one. */
  async #findNewer(app: App, { sha, ref }: { sha: string; ref: string }): Promise<Build | undefined> {
    const tip = await this.#parts.repositories.readRef(app.name, ref);
    const last = this.#parts.store.builds.findLatestPush(app.id);
    const isNewer = tip !== sha && last?.source.kind === 'commit' && last.source.sha === tip;
    return isNewer ? last : undefined;
  }

  /** An app with deploys off gets its row all the same: it says what was pushed, when and by whom. */
  #record(app: App, build: { sha: string; ref: string; noCache: boolean; by: string }): Build {
    const { store, queue } = this.#parts;
    const next = toNewBuild(app, build);
    if (app.deploys) return queue.submit(next);
    return store.transaction(() => {
      const created = store.builds.create(next);
      store.builds.finish(created.id, { state: 'succeeded', reason: 'deploys are off' });
      return store.builds.get(created.id);
    });
  }

  async #decideBranch(app: App, branch: string): Promise<void> {
    this.#parts.store.apps.setDeployBranch(app.id, branch);
    await this.#parts.repositories.setHead(app.name, branch);
  }

  async #onlyBranch(app: App): Promise<string | undefined> {
    const heads = (await this.#parts.repositories.listRefs(app.name, 'refs/heads/')).map((ref) =>
      ref.name.slice('refs/heads/'.length),
    );
    return heads.length === 1 ? heads[0] : ['main', 'master'].find((name) => heads.includes(name));
  }

  async #watchPushed(app: App, build: Build, outcome: PushOutcome, watcher: Watcher): Promise<number> {
    if (!app.deploys) {
      await watcher.write(
        `Stored ${shortSource(build.source)}. Deploys of ${app.name} are off; to turn them on: dinp apps set ${app.name} --deploys on\n`,
      );
      return 0;
    }
    if (parsePushOptions(outcome.options).detach) {
      await watcher.write(
        `Build #${build.number} goes on by itself. To read it: dinp builds log ${app.name} ${build.number} -f\n`,
      );
      return 0;
    }
    return await this.watchTurn(build, watcher);
  }

  async #tellPosition(build: Build, watcher: Watcher): Promise<void> {
    const { store, queue } = this.#parts;
    const position = queue.position(build.id);
    if (position === undefined) return;
    const running = store.builds
      .listUnfinished()
      .find((other) => other.appId === build.appId && other.state === 'running');
    const why = running
      ? `build #${running.number} of ${shortSource(running.source)} runs first`
      : 'other apps build first';
    await watcher.write(`-----> Build #${build.number} waits, number ${position} in the queue: ${why}\n`);
  }

  async #tellUnwatched(app: App, watcher: Watcher): Promise<void> {
    for (const build of this.#parts.store.builds.listUnwatched(app.id)) {
      await watcher.write(
        `Build #${build.number} of ${shortSource(build.source)}, which went on after its push was left, ${describeEnd(build)}.\n`,
      );
      this.#parts.store.builds.setUnwatched(build.id, false);
    }
  }

  async #tellStored(app: App, outcome: PushOutcome, watcher: Watcher): Promise<number> {
    const tags = outcome.applied.filter((command) => command.ref.startsWith('refs/tags/') && !isZero(command.new));
    const branch = this.#parts.store.apps.findById(app.id)!.deployBranch;
    if (tags.length > 0) {
      await watcher.write(`Tags are stored and do not deploy${branch ? `; ${branch} does` : ''}.\n`);
    }
    // Two first pushes at the same moment: both were judged before either had decided what deploys.
    const late = outcome.applied.find((command) => command.ref.startsWith('refs/heads/') && !isZero(command.new));
    if (late) {
      const name = printable(late.ref.slice('refs/heads/'.length));
      await watcher.write(
        `Branch ${name} was stored and not deployed: ${branch} came first. To deploy it: git push dinp ${name}:${branch}\n`,
      );
      return 1;
    }
    return outcome.applied.length === outcome.asked.length ? outcome.status : 1;
  }

  /** A push without commands joins a running build, or tells how things stand with the branch's tip. */
  async #tellUpToDate(app: App, identity: Identity, watcher: Watcher): Promise<number> {
    const { store, repositories } = this.#parts;
    const branch = app.deployBranch;
    const sha = branch === undefined ? undefined : await repositories.readRef(app.name, `refs/heads/${branch}`);
    if (sha === undefined) {
      // A dry run of the first push: nothing has failed.
      await watcher.write(`Nothing was pushed to ${app.name} yet: the first branch that is pushed deploys.\n`);
      return 0;
    }
    const again = `git push dinp ${branch}:${REDEPLOY_REF}`;
    let build = store.builds.findLatest(app.id, sha);
    if (!build && app.liveRelease === undefined)
      build = this.#record(app, { sha, ref: `refs/heads/${branch}`, noCache: false, by: identity.name });
    if (build && !isFinished(build.state)) {
      await watcher.write(
        `Joining build #${build.number} of ${sha.slice(0, 7)}; push options are not read where nothing is pushed.\n`,
      );
      return await this.watchTurn(build, watcher);
    }
    const release = store.releases.findLive(app);
    const liveSha = release?.source.kind === 'commit' ? release.source.sha : undefined;
    if (release && liveSha === sha) {
      if (build && build.state !== 'succeeded')
        await watcher.write(`Build #${build.number} of ${sha.slice(0, 7)} ${describeEnd(build)}.\n`);
      const live = `${sha.slice(0, 7)} is live as v${release.number}${app.stopped ? ' (stopped)' : ''}`;
      await watcher.write(`${[live, ...this.#parts.addresses.list(app, release)].join('  ')}\n`);
      await this.#tellInstances(app, watcher);
      return 0;
    }
    if (!app.deploys) {
      await watcher.write(`${sha.slice(0, 7)} is stored; deploys of ${app.name} are off.\n`);
      return 0;
    }
    const tip =
      build && build.state !== 'succeeded'
        ? `Build #${build.number} of ${sha.slice(0, 7)} ${describeEnd(build)}.`
        : `${branch} is at ${sha.slice(0, 7)}.`;
    const live = release
      ? `v${release.number} is live${liveSha ? ` with commit ${liveSha.slice(0, 7)}` : ''}.`
      : 'Nothing is live.';
    await watcher.write(`${tip}\n${live}\nTo deploy ${sha.slice(0, 7)} again:\n\n    ${again}\n\n`);
    return 1;
  }

  /** Where each instance of an app is, for people and programs that go past the router. */
  async #tellInstances(app: App, watcher: Watcher): Promise<void> {
    try {
      const lines = (await this.#parts.instances(app)).map(whereIs).filter((line) => line !== undefined);
      if (lines.length > 0) await watcher.write(`${lines.join('\n')}\n`);
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      await watcher.write(`Its instances cannot be seen now: ${error.message}\n`);
    }
  }
}

/** `web.1 at 10.0.0.7:22000 on h1`; undefined for what nobody can connect to, and for what should not run. */
function whereIs({ process, index, real, desired, ...planned }: InstanceStatus): string | undefined {
  const host = real?.host ?? planned.host;
  if (!desired || (real?.hostPort === undefined && host === undefined)) return undefined;
  const at = real?.hostPort === undefined ? '' : ` at ${real.hostAddress ?? '127.0.0.1'}:${real.hostPort}`;
  const state = real?.state ?? 'missing';
  return `${process}.${index}${at}${host === undefined ? '' : ` on ${host}`}${state === 'running' ? '' : `, ${state}`}`;
}

function toNewBuild(app: App, build: { sha: string; ref: string; noCache: boolean; by: string }): NewBuild {
  const { sha, ref, noCache, by } = build;
  return { appId: app.id, source: { kind: 'commit', sha, ref }, noCache, by };
}
