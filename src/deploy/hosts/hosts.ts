import { randomBytes } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { DinpError } from '../../domain/errors.ts';
import { formatImageRef, type ImageRef } from '../../domain/image-ref.ts';
import { nearest, printable } from '../../domain/names.ts';
import { hostNameProblem, mayBuild, type RunHost } from '../../domain/run-host.ts';
import { type HostFacts, isBooted, needUsable, readHostFacts } from '../../run/host-facts.ts';
import type { HostLink } from '../../run/ssh/host-link.ts';
import type { Store } from '../../store/store.ts';
import type { Progress } from '../progress.ts';

/** What is needed to know a host, before anything was asked of it. */
type Known = Pick<RunHost, 'name' | 'ssh' | 'hostKey' | 'docker' | 'registryPort'>;

export interface HostParts {
  store: Pick<Store, 'hosts' | 'placements'>;
  /** `ssh-ed25519 AAAA… dinp`, for authorized_keys of hosts. */
  publicKey(): string;
  /** @param onOpen called each time that the connection is there (again) */
  link(host: Known, onOpen?: () => void): HostLink;
  /** Told that a host answers, for the first time or again. */
  onAnswer(host: RunHost): void;
  /** Told of apps whose instances were on a host that was removed. */
  onLost(apps: string[]): void;
  /** @throws DinpError unavailable */
  askHostKey(name: string, ssh: RunHost['ssh']): Promise<RunHost['hostKey']>;
  /** A small new image in our registry, under the repository that images have there. */
  pushCheckImage(mark: string, signal: AbortSignal): Promise<ImageRef>;
  removeCheckImage(image: ImageRef): Promise<void>;
  /** Address of the registry that images are pushed to, and from which hosts pull it where they reach it by themselves. */
  registry: { push: string; pull: string | undefined };
}

export interface NewHostRequest {
  name: string;
  ssh: RunHost['ssh'];
  labels: Record<string, string>;
  /** undefined: the one that SSH goes to. */
  address: string | undefined;
  /** undefined: whatever key it shows is trusted, this once. */
  fingerprint: string | undefined;
}

/** One thing that `hosts check` looked at. */
export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
}

const GIB = 1024 ** 3;
const LEAST_DISK = GIB;
const LEAST_MEMORY = 128 * 1024 ** 2;
/** Beyond this, tokens and logs of two machines do not fit together. */
const MOST_CLOCK_SKEW_MS = 5_000;
const PULL_TIMEOUT_MS = 60_000;
const DOCKER = '/usr/bin/docker';

/** The machines that run instances over SSH: which there are, and the kept connection to each. */
export class Hosts {
  readonly #parts: HostParts;
  readonly #links = new Map<number, HostLink>();

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  publicKey(): string {
    return this.#parts.publicKey();
  }

  list(): RunHost[] {
    return this.#parts.store.hosts.list();
  }

  /** @throws DinpError not-found */
  get(name: string): RunHost {
    const found = this.#parts.store.hosts.find(name);
    if (found) return found;
    const near = nearest(
      name,
      this.list().map((host) => host.name),
    );
    throw new DinpError('not-found', `there is no host ${printable(name)}.`, {
      hint: near === undefined ? 'To see all: dinp hosts list' : `Did you mean ${near}?`,
    });
  }

  /**
   * Takes a machine up: pins its host key, logs in and looks whether it can run instances.
   * @throws DinpError usage, exists, unavailable, denied, refused (with what to install)
   */
  async add(request: NewHostRequest, progress: Progress): Promise<RunHost> {
    const { name, ssh, labels } = request;
    const problem = hostNameProblem(name);
    if (problem !== undefined)
      throw new DinpError('usage', `"${printable(name)}" cannot be a host's name: ${problem}.`);
    if (this.#parts.store.hosts.find(name))
      throw new DinpError('exists', `there is a host ${name} already.`, { hint: `dinp hosts show ${name}` });
    const same = this.list().find((host) => host.ssh.host === ssh.host && host.ssh.port === ssh.port);
    if (same) throw new DinpError('exists', `${ssh.host} is the host ${same.name} already.`);
    const hostKey = await this.#parts.askHostKey(name, ssh);
    checkFingerprint(name, hostKey, request.fingerprint, progress);
    const link = this.#parts.link({ name, ssh, hostKey, docker: DOCKER, registryPort: this.#registryPort() });
    try {
      await link.open();
      const facts = await readHostFacts(link.host);
      needUsable(name, facts);
      const address = ownAddress(name, request.address ?? ssh.host, facts);
      const registryPort = await this.#askPort({ name, ssh, hostKey, docker: facts.docker!, registryPort: 0 }, link);
      return this.#parts.store.hosts.add({ name, ssh, hostKey, address, labels, docker: facts.docker!, registryPort });
    } finally {
      link.close();
    }
  }

  /** Trusts another host key from now on, such as that of a machine that was installed anew. */
  async pin(host: RunHost, fingerprint: string, progress: Progress): Promise<void> {
    const hostKey = await this.#parts.askHostKey(host.name, host.ssh);
    checkFingerprint(host.name, hostKey, fingerprint, progress);
    this.#parts.store.hosts.setHostKey(host.id, hostKey);
    this.#drop(host);
  }

  /** Looks at all that a host needs to run instances; each finding says what it saw. */
  async check(host: RunHost, signal: AbortSignal): Promise<Finding[]> {
    let facts: HostFacts;
    const asked = Date.now();
    try {
      this.link(host).hurry(0);
      facts = await readHostFacts(this.link(host).host);
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      return [{ name: 'login', ok: false, detail: said(error) }];
    }
    const clock = facts.clock - (asked + Date.now()) / 2;
    return [
      { name: 'login', ok: facts.uid === 0, detail: `${host.ssh.user}@${host.ssh.host}, ${host.hostKey.fingerprint}` },
      { name: 'systemd', ok: isBooted(facts.systemd), detail: facts.systemd ?? 'it has none' },
      { name: 'docker', ok: facts.engine !== undefined, detail: facts.engine ?? 'its engine does not answer' },
      { name: 'disk', ok: facts.diskFree >= LEAST_DISK, detail: `${size(facts.diskFree)} free` },
      { name: 'memory', ok: facts.memoryAvailable >= LEAST_MEMORY, detail: `${size(facts.memoryAvailable)} available` },
      {
        name: 'clock',
        ok: Math.abs(clock) <= MOST_CLOCK_SKEW_MS,
        detail: Math.abs(clock) < 1000 ? 'right' : `${Math.round(clock / 1000)} s off`,
      },
      {
        name: 'address',
        ok: facts.addresses.includes(host.address),
        detail: facts.addresses.includes(host.address) ? host.address : `${host.address} is not one of its own`,
      },
      ...(mayBuild(host)
        ? [{ name: 'curl', ok: facts.curl !== undefined, detail: facts.curl ?? 'builds need it' }]
        : []),
      await this.#checkPull(host, signal),
    ];
  }

  /** Lets a host that was drained have instances again. */
  undrain(host: RunHost): void {
    this.#parts.store.hosts.setDrained(host.id, false);
  }

  /**
   * Forgets a host. What still runs there is left alone; forced, its apps get instances elsewhere.
   * @throws DinpError refused where something should, unless forced
   */
  remove(host: RunHost, options: { force: boolean }): void {
    const apps = [...new Set(this.#parts.store.placements.onHost(host.id).map(({ app }) => app))];
    if (apps.length > 0 && !options.force) {
      throw new DinpError('refused', `${host.name} has instances of ${apps.join(', ')}.`, {
        hint: `Move them away first: dinp hosts drain ${host.name}\nWhere it is gone for good: dinp hosts remove ${host.name} --force`,
      });
    }
    this.#parts.store.hosts.remove(host.id);
    this.#drop(host);
    if (apps.length > 0) this.#parts.onLost(apps);
  }

  /** The kept connection to a host. It is opened when it is first used, and opened again whenever it is lost. */
  link(host: RunHost): HostLink {
    const found = this.#links.get(host.id);
    if (found) return found;
    const link = this.#parts.link(host, () => this.#parts.onAnswer(host));
    this.#links.set(host.id, link);
    // What fails here is said by whoever uses it.
    link.open().catch(() => undefined);
    return link;
  }

  /** The address by which a host reaches our registry. @throws DinpError unavailable, denied */
  async registryOn(host: RunHost): Promise<string> {
    const { push, pull } = this.#parts.registry;
    const port = await this.link(host).registryPort();
    return port === undefined ? (pull ?? push) : `127.0.0.1:${port}`;
  }

  /**
   * An image as a host pulls it: through its forward where there is one.
   * @param image as releases name it
   * @throws DinpError unavailable
   */
  async imageOn(host: RunHost, image: ImageRef): Promise<ImageRef> {
    const port = await this.link(host).registryPort();
    return port === undefined ? image : this.imageName(host, image);
  }

  /** The same, without asking whether the host can pull. */
  imageName(host: RunHost, image: ImageRef): ImageRef {
    const { push, pull } = this.#parts.registry;
    if (pull !== undefined || !image.repository.startsWith(`${push}/`)) return image;
    return { ...image, repository: `127.0.0.1:${host.registryPort}${image.repository.slice(push.length)}` };
  }

  /**
   * An image under the one name by which all nodes of a swarm pull it: the registry's own address, or where nodes are
   * hosts of ours the port of their loopback addresses that leads to it.
   * @param addresses of the nodes
   * @throws DinpError unavailable; config where the port is not the same everywhere
   */
  async imageOnAll(addresses: readonly string[], image: ImageRef): Promise<ImageRef> {
    const { push, pull } = this.#parts.registry;
    const known = this.list().filter(({ address, ssh }) => addresses.includes(address) || addresses.includes(ssh.host));
    if (pull !== undefined || known.length === 0 || !image.repository.startsWith(`${push}/`)) return image;
    await Promise.all(known.map((host) => this.link(host).registryPort().catch(skipAway)));
    // A node that is no host of ours reaches what is pushed to, or nothing: this machine's own engine does.
    const others = addresses.length > known.length ? [this.#registryPort()] : [];
    const ports = new Set([...known.map(({ registryPort }) => registryPort), ...others]);
    if (ports.size === 1) return this.imageName(known[0]!, image);
    throw new DinpError('config', 'the nodes of the swarm reach the registry at different ports of their own.', {
      detail: known.map(({ name, registryPort }) => `${name} ${registryPort}`).join('\n'),
      hint: `Free port ${this.#registryPort()} on each and take it up again, or give the registry an address that all reach: registry.pull.`,
    });
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  async #checkPull(host: RunHost, signal: AbortSignal): Promise<Finding> {
    const finding = (ok: boolean, detail: string): Finding => ({ name: 'registry', ok, detail });
    let pushed: ImageRef | undefined;
    try {
      pushed = await this.#parts.pushCheckImage(randomBytes(16).toString('hex'), signal);
      const image = formatImageRef(await this.imageOn(host, pushed));
      const { host: machine } = this.link(host);
      const options = { timeoutMs: PULL_TIMEOUT_MS, signal };
      const { code, stderr } = await machine.run([host.docker, 'pull', '--quiet', image], options);
      if (code !== 0) return finding(false, stderr.trim());
      await machine.run([host.docker, 'image', 'rm', image], options);
      return finding(true, `pulled ${image.slice(0, image.indexOf('@'))}`);
    } catch (error) {
      if (!(error instanceof DinpError)) throw error;
      return finding(false, said(error));
    } finally {
      if (pushed !== undefined) await this.#parts.removeCheckImage(pushed).catch(() => undefined);
    }
  }

  /** The port that we would like to have on hosts: the registry's own. */
  #registryPort(): number {
    return Number(/:(\d+)$/.exec(this.#parts.registry.push)?.[1] ?? 5000);
  }

  /** The port of the host's loopback address that is free for the registry, ours where nobody has it. */
  async #askPort(known: Known, wanted: HostLink): Promise<number> {
    try {
      return (await wanted.registryPort()) ?? this.#registryPort();
    } catch {
      // Somebody has it, such as a registry of the host's own: any other does as well.
      const other = this.#parts.link(known);
      try {
        await other.open();
        return (await other.registryPort())!;
      } finally {
        other.close();
      }
    }
  }

  #drop(host: RunHost): void {
    this.#links.get(host.id)?.close();
    this.#links.delete(host.id);
  }
}

/** A host that is away pulls nothing now; the others do not wait for it. */
function skipAway(error: unknown): undefined {
  if (error instanceof DinpError && error.code === 'unavailable') return undefined;
  throw error;
}

/** @throws DinpError denied where another key was expected */
function checkFingerprint(
  name: string,
  found: RunHost['hostKey'],
  expected: string | undefined,
  progress: Progress,
): void {
  if (expected === undefined) {
    progress.line(`${name} shows the host key ${found.fingerprint} (${found.type}).`);
    progress.line('It is trusted from now on. To be sure, compare it with, on the machine itself:');
    progress.line('  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
    return;
  }
  if (expected === found.fingerprint) return;
  throw new DinpError('denied', `${name} shows another host key than the one you gave.`, {
    detail: `given     ${printable(expected)}\npresented ${found.fingerprint} (${found.type})`,
    hint: 'Is it the right machine? On it: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub',
  });
}

/** @throws DinpError usage, refused for an address that the machine itself does not have */
function ownAddress(name: string, wanted: string, facts: HostFacts): string {
  if (isIPv4(wanted) && (facts.addresses.includes(wanted) || wanted === '127.0.0.1')) return wanted;
  const list = facts.addresses.join(', ');
  throw new DinpError('refused', `${printable(wanted)} is no IPv4 address of ${name} that instances can be bound to.`, {
    hint: `Choose one that this server reaches, with --address: ${list || 'the machine tells none'}.`,
  });
}

function said(error: DinpError): string {
  return [error.message, error.detail].filter((text) => text !== undefined && text !== '').join(' ');
}

function size(bytes: number): string {
  return bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.round(bytes / 1024 ** 2)} MiB`;
}
