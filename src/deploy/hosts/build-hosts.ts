import { randomBytes } from 'node:crypto';
import { DinpError } from '../../domain/errors.ts';
import { mayBuild, type RunHost } from '../../domain/run-host.ts';
import type { BuildEnd, BuildJob, BuildPlace } from '../../image/host/build-place.ts';
import type { ContextDoor } from '../../image/host/context-door.ts';
import type { Credentials } from '../../image/registry/registry-auth.ts';
import { type HostFacts, readHostFacts } from '../../run/host-facts.ts';
import type { SshHost } from '../../run/ssh/ssh-host.ts';
import { listOneshots, removeOneshot, runOneshot } from '../../run/systemd/oneshot-unit.ts';
import { BUILD_COMMANDS, type BuildUnits, CONTEXT_FILE } from '../../unit/build-unit.ts';
import type { Hosts } from './hosts.ts';

export interface BuildHostsParts {
  hosts: Pick<Hosts, 'list' | 'link' | 'registryOn'>;
  /** Tells what servers that share a host have there apart. */
  server: string;
  units: BuildUnits;
  /** Where hosts fetch what they build. */
  door: ContextDoor;
  /** Passwords of registries by their address, as docker's config takes them; ours under `own`. */
  credentials(): { own: Credentials | undefined; others: Record<string, Credentials> };
}

/** In memory: no password or token of a build is ever on a disk there. */
const FOLDER = '/run/dinp-build';
/** A base may be pulled that is large. */
const DOCKER_TIMEOUT_MS = 15 * 60_000;
/** A host asks for the commit at once; what it does not get in this time, it will not get later. */
const FETCH_TIMEOUT_MS = 10 * 60_000;
const SMALL_TIMEOUT_MS = 30_000;

interface Candidate {
  host: RunHost;
  facts: HostFacts;
}

/** The hosts that build: chooses one for each build, and takes away what builds leave there. */
export class BuildHosts {
  readonly #parts: BuildHostsParts;
  /** Names of the units of builds that run now, by the host's id. */
  readonly #current = new Map<number, Set<string>>();
  /** Hosts on which nothing of builds is that do not run. */
  readonly #swept = new Set<number>();

  constructor(parts: BuildHostsParts) {
    this.#parts = parts;
  }

  /**
   * Takes a host for one build: of those that answer the one with the fewest builds, then with the most free memory.
   * @throws DinpError unavailable where none answers; refused where one lacks a program; canceled
   */
  async place(onOutput: (text: string) => void, signal: AbortSignal): Promise<BuildPlace> {
    const { host, facts } = this.#choose(await this.#candidates());
    if (signal.aborted) throw new DinpError('canceled', 'The build was canceled.');
    const name = `${this.#prefix}${randomBytes(6).toString('hex')}`;
    this.#buildsOn(host).add(name);
    try {
      if (!this.#swept.has(host.id)) await this.sweep(host);
      const machine = this.#parts.hosts.link(host).host;
      const registry = await this.#parts.hosts.registryOn(host);
      const place = new HostPlace({
        parts: this.#parts,
        host,
        machine,
        curl: facts.curl!,
        name,
        registry,
        onEnd: (isTidy) => this.#ended(host, name, isTidy),
      });
      await place.begin();
      onOutput(`On the build host ${host.name}\n`);
      return place;
    } catch (error) {
      this.#ended(host, name, false);
      throw error;
    }
  }

  /**
   * Stops and removes what builds of a server that died left on a host.
   * @returns names of the units that were there
   * @throws DinpError unavailable, denied
   */
  async sweep(host: RunHost): Promise<string[]> {
    const machine = this.#parts.hosts.link(host).host;
    const found = await listOneshots(machine, this.#prefix, FOLDER);
    const left = found.filter((name) => !this.#buildsOn(host).has(name));
    for (const name of left) await removeBuild(machine, name);
    this.#swept.add(host.id);
    return left;
  }

  /** The hosts that may be given builds. */
  list(): RunHost[] {
    const all = this.#parts.hosts.list().filter(({ drained }) => !drained);
    const meant = all.filter(mayBuild);
    return meant.length > 0 ? meant : all;
  }

  get #prefix(): string {
    return `dinp-build-${this.#parts.server}-`;
  }

  async #candidates(): Promise<{ candidates: Candidate[]; problems: string[] }> {
    const problems: string[] = [];
    const asked = await Promise.all(
      this.list().map(async (host) => {
        try {
          const facts = await readHostFacts(this.#parts.hosts.link(host).host);
          const missing = missingFor(facts);
          if (missing === undefined) return { host, facts };
          problems.push(`${host.name} ${missing}`);
        } catch (error) {
          if (!(error instanceof DinpError)) throw error;
          problems.push(error.message);
        }
        return undefined;
      }),
    );
    return { candidates: asked.filter((each) => each !== undefined), problems };
  }

  #choose({ candidates, problems }: { candidates: Candidate[]; problems: string[] }): Candidate {
    const builds = ({ host }: Candidate) => this.#buildsOn(host).size;
    const [best] = candidates.sort(
      (a, b) =>
        builds(a) - builds(b) ||
        b.facts.memoryAvailable - a.facts.memoryAvailable ||
        (a.host.name < b.host.name ? -1 : 1),
    );
    if (best !== undefined) return best;
    if (problems.length === 0) {
      throw new DinpError('unavailable', 'there is no host that builds.', {
        hint: "Add one: dinp hosts add NAME ssh://root@ADDRESS --label role=build\nor build here: builds.on: local in the server's config.",
      });
    }
    throw new DinpError('unavailable', 'no build host can be used.', {
      detail: problems.join('\n'),
      hint: 'See what is wrong with them: dinp hosts check',
    });
  }

  #ended(host: RunHost, name: string, isTidy: boolean): void {
    this.#buildsOn(host).delete(name);
    if (!isTidy) this.#swept.delete(host.id);
  }

  #buildsOn({ id }: RunHost): Set<string> {
    const found = this.#current.get(id) ?? new Set();
    this.#current.set(id, found);
    return found;
  }
}

/** What a machine lacks to build, for people; undefined where it has all. */
function missingFor(facts: HostFacts): string | undefined {
  if (facts.engine === undefined) return 'has no Docker Engine that answers.';
  return facts.curl === undefined ? 'has no curl to fetch commits with (on Debian: apt-get install curl).' : undefined;
}

async function removeBuild(machine: SshHost, name: string): Promise<void> {
  await removeOneshot(machine, name);
  await machine.run(['rm', '-rf', '--', `${FOLDER}/${name}`], { timeoutMs: SMALL_TIMEOUT_MS });
}

interface PlaceParts {
  parts: BuildHostsParts;
  host: RunHost;
  machine: SshHost;
  curl: string;
  /** Of the unit and of its folder. */
  name: string;
  registry: string;
  /** @param isTidy nothing of it was left there */
  onEnd(isTidy: boolean): void;
}

/** One build's part of a host: a unit, and a folder that only root can read. */
class HostPlace implements BuildPlace {
  readonly name: string;
  readonly registry: string;
  readonly #place: PlaceParts;

  constructor(place: PlaceParts) {
    this.name = place.host.name;
    this.registry = place.registry;
    this.#place = place;
  }

  /** Makes the folder, with the passwords of the registries. @throws DinpError unavailable */
  async begin(): Promise<void> {
    const { machine, parts } = this.#place;
    const { own, others } = parts.credentials();
    await machine.run(['install', '-d', '-m', '700', FOLDER, this.#folder], { timeoutMs: SMALL_TIMEOUT_MS });
    const all = { ...others, ...(own === undefined ? {} : { [this.registry]: own }) };
    const auths = Object.entries(all).map(([host, { username, password }]) => [
      host,
      { auth: Buffer.from(`${username}:${password}`).toString('base64') },
    ]);
    await machine.putFile(`${this.#folder}/config.json`, JSON.stringify({ auths: Object.fromEntries(auths) }), 0o600);
  }

  async docker(args: string[], signal: AbortSignal): Promise<{ code: number; stdout: string; stderr: string }> {
    const { host, machine } = this.#place;
    return await machine.run([host.docker, '--config', this.#folder, ...args], {
      timeoutMs: DOCKER_TIMEOUT_MS,
      signal,
    });
  }

  async run(job: BuildJob, onLine: (line: string) => void, signal: AbortSignal): Promise<BuildEnd> {
    const { parts, host, machine, curl, name } = this.#place;
    const unit = parts.units.render({ ...job, name, folder: this.#folder, docker: host.docker, curl });
    using ticket = parts.door.issue(
      job.app,
      job.source,
      () => job.context(),
      Math.min(job.timeoutMs, FETCH_TIMEOUT_MS),
    );
    const port = await parts.hosts.link(host).doorPort();
    await machine.putFile(`${this.#folder}/fetch`, fetchConfig(port, ticket), 0o600);
    const { result, command, how } = await runOneshot(machine, unit, { onLine, signal });
    if (result === 'success') return { failed: undefined, how };
    const failed = command === undefined ? 'other' : (BUILD_COMMANDS[command] ?? 'other');
    if (result === 'gone') return { failed: 'other', how: `${host.name} was restarted, or somebody stopped it there` };
    if (result === 'timeout') return { failed: 'other', how: 'its time was over' };
    return { failed, how: how || result };
  }

  /** Ends the build where it still goes on, and takes all of it away; what a host that is away keeps is swept later. */
  async [Symbol.asyncDispose](): Promise<void> {
    const isTidy = await removeBuild(this.#place.machine, this.#place.name).then(
      () => true,
      // The unit ends by itself, at its time limit at the latest.
      () => false,
    );
    this.#place.onEnd(isTidy);
  }

  get #folder(): string {
    return `${FOLDER}/${this.#place.name}`;
  }
}

/** A config file for curl: a token in its command line could be seen by everybody on the host. */
function fetchConfig(port: number, { path, token }: { path: string; token: string }): string {
  return [
    `url = "http://127.0.0.1:${port}${path}"`,
    `header = "Authorization: Bearer ${token}"`,
    `output = "${CONTEXT_FILE}"`,
    'noproxy = "*"',
    'fail',
    'silent',
    'show-error',
    // An SSH connection that is lost takes the way here with it, and comes back; one that stalls does not.
    'retry = 4',
    'retry-all-errors',
    'speed-limit = 1',
    'speed-time = 60\n',
  ].join('\n');
}
