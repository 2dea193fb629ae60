import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../../domain/errors.ts';
import { formatImageRef } from '../../domain/image-ref.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';
import { engineVolumeName, LABEL } from '../docker/docker-container.ts';
import type { Host } from '../host.ts';
import { parseListeners } from '../listeners.ts';
import type { ExecStreams, Listener, LogLine, LogOptions, Target } from '../target.ts';
import { SystemdHost, units } from './systemd-host.ts';
import { InstanceJournal } from './systemd-journal.ts';
import { exitCode, instanceState } from './systemd-state.ts';
import type { HostFile, UnitEngine } from './unit-engine.ts';

/** How instances become unit files: RunUnits or QuadletUnits of src/unit. */
export interface InstanceUnits {
  render(specs: InstanceSpec[]): { name: string; text: string }[];
  environmentFiles(spec: InstanceSpec): HostFile[];
  oneOff(
    spec: InstanceSpec,
    oneOff: { name: string; command: string[]; stdin: boolean },
  ): { argv: string[]; files: HostFile[] };
}

export interface SystemdTargetOptions {
  renderer: InstanceUnits;
  /** The same as in the renderer's options: tells units of servers that share a host apart. */
  server: string;
  engine: UnitEngine;
  /** Where environment files of instances are, as in the renderer's options. */
  environmentFolder: string;
  /** Says what is wrong with unit files before they are used; undefined where that cannot be found out. */
  verify(files: { name: string; text: string }[]): Promise<string[] | undefined>;
}

const PULL_TIMEOUT_MS = 10 * 60_000;
/** From the unit's start until its container runs; the image is there by then. */
const CONTAINER_TIMEOUT_MS = 60_000;
const POLL_MS = 150;
/** What systemd and the engine may take beyond the grace period, to kill and remove. */
const STOP_MARGIN_MS = 40_000;
const DETAIL_LINES = 20;
const WANTS = 'multi-user.target.wants';

/**
 * Instances are units of systemd whose ExecStart is `docker run`, or quadlets, of which podman makes such units: systemd
 * starts them at boot and restarts them, and the journal has their output. Needs root on the host.
 */
export class SystemdTarget implements Target {
  readonly name: string;
  readonly runs = true;
  readonly #options: SystemdTargetOptions;
  readonly #host: Host;
  readonly #systemd: SystemdHost;
  readonly #journal: InstanceJournal;

  constructor(host: Host, options: SystemdTargetOptions) {
    this.name = options.engine.target;
    this.#options = options;
    this.#host = host;
    this.#systemd = new SystemdHost(host, options.engine);
    this.#journal = new InstanceJournal(host);
  }

  async start(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void> {
    await this.#systemd.check();
    await this.#checkOwner([spec.name]);
    const files = this.#options.renderer.render([spec]);
    if (await this.#isRunning(spec.name)) {
      if (await this.#isMadeOf(spec, files)) return;
      await this.remove([spec]);
    }
    // Beside each other: both take a while on a host that is far away.
    const [problems = []] = await Promise.all([this.#options.verify(files), this.#pull(spec, options)]);
    if (problems.length > 0) {
      throw new DinpError('start-failed', `${this.name} does not accept the unit of ${spec.name}.`, {
        detail: problems.join('\n'),
      });
    }
    await this.#ensureVolumes(Object.keys(spec.volumes));
    const mark = await this.#journal.end();
    try {
      await this.#install(spec, files);
      await this.#startUnit(spec, mark, options.signal);
    } catch (error) {
      // Where the connection was lost it may well have started: whoever tries again finds it.
      const isLost = error instanceof DinpError && error.code === 'unavailable';
      if (!isLost) await this.remove([spec]).catch(() => undefined);
      throw error;
    }
  }

  async remove(instances: { name: string; stopMs: number }[]): Promise<void> {
    const names = instances.map(({ name }) => checkedName(name));
    if (names.length === 0) return;
    await this.#systemd.check();
    await this.#checkOwner(names);
    const timeoutMs = Math.max(...instances.map(({ stopMs }) => stopMs)) + STOP_MARGIN_MS;
    // Status 5: some are not loaded; the others are stopped all the same.
    await this.#systemd.systemctl(['stop', '--', ...units(names)], { okay: [5], timeoutMs });
    await this.#systemd.engineCommand(['rm', '--force', ...names], { mayFail: true, timeoutMs });
    await this.#removeFiles(names);
    await this.#systemd.systemctl(['daemon-reload']);
    await this.#systemd.systemctl(['reset-failed', '--', ...units(names)], { okay: [1, 5] });
  }

  async list(app?: string): Promise<RunningInstance[]> {
    return await this.#states((facts) => app === undefined || facts.app === app);
  }

  async find(instance: string): Promise<RunningInstance | undefined> {
    const [found] = await this.#states((facts) => facts.name === instance);
    return found;
  }

  async listeners(instance: string): Promise<Listener[] | undefined> {
    const container = (await this.#systemd.containers([checkedName(instance)])).get(instance);
    if (container === undefined || !container.State.Running) return undefined;
    const proc = `/proc/${container.State.Pid}/net`;
    const { stdout } = await this.#host.run(['cat', `${proc}/tcp`, `${proc}/tcp6`]);
    return stdout.includes('local_address') ? parseListeners(stdout) : undefined;
  }

  async *logs(instances: string[], options: LogOptions): AsyncGenerator<LogLine> {
    await this.#systemd.check();
    const names = instances.map(checkedName);
    const remain = async () => (await this.#states((facts) => names.includes(facts.name))).length > 0;
    yield* this.#journal.read(names, options, remain);
  }

  async exec(instance: string, command: string[], streams: ExecStreams): Promise<number> {
    const found = await this.find(instance);
    if (found === undefined) throw new DinpError('not-found', `There is no instance ${instance}.`);
    const interactive = streams.stdin === undefined ? [] : ['--interactive'];
    const mark = `DINP_EXEC=${randomBytes(8).toString('hex')}`;
    try {
      const argv = [this.#options.engine.cli, 'exec', `--env=${mark}`, ...interactive, instance, ...command];
      return await this.#host.stream(argv, streams);
    } catch (error) {
      if (streams.signal.aborted) await this.#killMarked(mark).catch(() => undefined);
      throw error;
    }
  }

  async runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number> {
    await this.#systemd.check();
    await this.#pull(spec, { onProgress: () => undefined, signal: streams.signal });
    await this.#ensureVolumes(Object.keys(spec.volumes));
    const name = `${spec.name}--run-${randomBytes(4).toString('hex')}`;
    const { argv, files } = this.#options.renderer.oneOff(spec, { name, command, stdin: streams.stdin !== undefined });
    try {
      await this.#putSecret(files);
      return await this.#host.stream(argv, streams);
    } finally {
      await this.#systemd.engineCommand(['rm', '--force', name], { mayFail: true }).catch(() => undefined);
      await this.#removeSecret(files);
    }
  }

  async restart(instances: { name: string; stopMs: number }[]): Promise<void> {
    const names = instances.map(({ name }) => checkedName(name));
    if (names.length === 0) return;
    await this.#systemd.check();
    const known = await this.#systemd.states(names);
    const unknown = names.find((name) => known.get(name)?.LoadState !== 'loaded');
    if (unknown !== undefined) throw new DinpError('not-found', `There is no instance ${unknown}.`);
    const timeoutMs = Math.max(...instances.map(({ stopMs }) => stopMs)) + STOP_MARGIN_MS + CONTAINER_TIMEOUT_MS;
    await this.#systemd.systemctl(['restart', '--', ...units(names)], { timeoutMs });
  }

  async removeVolume(volume: string): Promise<void> {
    const name = engineVolumeName(volume);
    await this.#checkVolumes([volume]);
    // --force: one that is not there is fine; one in use is still refused.
    const { code, stderr } = await this.#systemd.engineCommand(['volume', 'rm', '--force', '--', name], {
      mayFail: true,
    });
    if (code === 0) return;
    throw new DinpError('refused', `Volume ${name} cannot be removed.`, {
      detail: stderr.trim(),
      hint: 'Stop the app first.',
    });
  }

  async #states(wanted: (facts: { name: string; app: string }) => boolean): Promise<RunningInstance[]> {
    await this.#systemd.check();
    const all = await this.#systemd.facts();
    const facts = all.filter(({ server }) => server === this.#options.server).filter(wanted);
    const names = facts.map(({ name }) => name);
    const [states, containers] = await Promise.all([this.#systemd.states(names), this.#systemd.containers(names)]);
    return facts
      .map((unit) => instanceState(unit, states.get(unit.name) ?? {}, containers.get(unit.name)))
      .sort((a, b) => compare(a.app, b.app) || a.release - b.release || compare(a.name, b.name));
  }

  /** Servers that share a host must not take each other's instances. @throws DinpError refused */
  async #checkOwner(names: string[]): Promise<void> {
    const foreign = (await this.#systemd.facts()).find(
      ({ name, server }) => names.includes(name) && server !== this.#options.server,
    );
    if (foreign === undefined) return;
    throw new DinpError(
      'refused',
      `${foreign.name} on ${this.#host.name} belongs to the dinp server ${foreign.server}.`,
      {
        hint: 'Rename the app here, or give it another host.',
      },
    );
  }

  async #isRunning(name: string): Promise<boolean> {
    const found = await this.find(name);
    const container = found === undefined ? undefined : (await this.#systemd.containers([name])).get(name);
    return container?.State.Running === true && (found?.state === 'running' || found?.state === 'starting');
  }

  /** Whether what systemd runs under a name is what is meant: the same unit, and the same values beside it. */
  async #isMadeOf(spec: InstanceSpec, unitFiles: { name: string; text: string }[]): Promise<boolean> {
    const state = (await this.#systemd.states([spec.name])).get(spec.name);
    if (state?.NeedDaemonReload !== 'no') return false;
    const files = this.#files(spec, unitFiles);
    const { stdout } = await this.#host.run(['sha256sum', '--', ...files.map(({ path }) => path)]);
    const there = stdout.split('\n').map((line) => line.slice(0, 64));
    return files.every(({ text }, i) => createHash('sha256').update(text).digest('hex') === there[i]);
  }

  /** What an instance has on the host: config values, for root alone, and its unit. */
  #files(spec: InstanceSpec, unitFiles: { name: string; text: string }[]): (HostFile & { mode: number })[] {
    return [
      ...this.#options.renderer.environmentFiles(spec).map((file) => ({ ...file, mode: 0o600 })),
      ...unitFiles.map(({ name, text }) => ({ path: `${this.#options.engine.unitFolder}/${name}`, text, mode: 0o644 })),
    ];
  }

  /** Pulls before the unit starts, so that progress and the registry's refusals are seen as they come. */
  async #pull(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void> {
    const image = formatImageRef(spec.image);
    const present = await this.#systemd.engineCommand(['image', 'inspect', '--format={{.Id}}', image], {
      mayFail: true,
    });
    if (present.code === 0) return;
    const timeout = AbortSignal.timeout(PULL_TIMEOUT_MS);
    const begin = performance.now();
    options.onProgress(`${this.#host.name} pulls the image`);
    const said: string[] = [];
    const onLine = (line: string) => void said.push(line);
    const lines = { stdout: lineSplitter(onLine), stderr: lineSplitter(onLine) };
    const { args, files } = await this.#options.engine.pull(spec.image);
    await this.#putSecret(files);
    const code = await this.#host
      .stream([this.#options.engine.cli, ...args], {
        stdin: undefined,
        onStdout: lines.stdout,
        onStderr: lines.stderr,
        signal: AbortSignal.any([options.signal, timeout]),
      })
      .catch((error: unknown) => {
        if (!timeout.aborted || options.signal.aborted) throw error;
        throw new DinpError('timeout', `${image} could not be pulled within 10 minutes.`, {
          detail: said.slice(-5).join('\n'),
        });
      })
      .finally(() => this.#removeSecret(files));
    if (code === 0)
      return options.onProgress(`${this.#host.name} has it (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    throw new DinpError('start-failed', `${this.#host.name} cannot pull ${image}.`, {
      detail: said.slice(-5).join('\n'),
      hint: 'Can the host reach the registry? A private one needs a login there, as root.',
    });
  }

  /** A volume of another server is never mounted or removed. @throws DinpError refused */
  async #checkVolumes(volumes: string[]): Promise<void> {
    for (const volume of volumes.map(engineVolumeName)) {
      const format = `--format={{index .Labels "${LABEL.server}"}}`;
      const { code, stdout } = await this.#systemd.engineCommand(['volume', 'inspect', format, '--', volume], {
        mayFail: true,
      });
      const owner = stdout.trim();
      if (code !== 0 || owner === '' || owner === '<no value>' || owner === this.#options.server) continue;
      throw new DinpError('refused', `Volume ${volume} belongs to another dinp server on this engine.`, {
        hint: 'Rename the app here, or the volume in dinp.yml.',
      });
    }
  }

  /** @throws DinpError refused where one belongs to another server */
  async #ensureVolumes(volumes: string[]): Promise<void> {
    await this.#checkVolumes(volumes);
    const { engine, server } = this.#options;
    for (const volume of volumes.map(engineVolumeName)) {
      const args = engine.createVolume?.(volume, `${LABEL.server}=${server}`);
      if (args !== undefined) await this.#systemd.engineCommand(args, { mayFail: false });
    }
  }

  /** Puts files that only root may read. */
  async #putSecret(files: HostFile[]): Promise<void> {
    for (const { path, text } of files) await this.#host.putFile(path, text, 0o600);
  }

  async #removeSecret(files: HostFile[]): Promise<void> {
    for (const { path } of files) await this.#host.removeFile(path);
  }

  async #install(spec: InstanceSpec, unitFiles: { name: string; text: string }[]): Promise<void> {
    for (const { path, text, mode } of this.#files(spec, unitFiles)) await this.#host.putFile(path, text, mode);
    await this.#systemd.systemctl(['daemon-reload']);
    if (!this.#options.engine.enables) return;
    await this.#systemd.systemctl(['enable', '--no-reload', '--quiet', '--', ...units([spec.name])]);
  }

  /** Starts the unit and waits until its container runs. @throws DinpError start-failed with what it printed */
  async #startUnit(spec: InstanceSpec, mark: string | undefined, signal: AbortSignal): Promise<void> {
    await this.#systemd.systemctl(['start', '--no-block', '--', ...units([spec.name])]);
    const deadline = Date.now() + CONTAINER_TIMEOUT_MS;
    let seen: string | undefined;
    while (Date.now() < deadline) {
      if (signal.aborted) throw new DinpError('canceled', `Starting ${spec.name} was canceled.`);
      const [states, containers] = await Promise.all([
        this.#systemd.states([spec.name]),
        this.#systemd.containers([spec.name]),
      ]);
      const state = states.get(spec.name) ?? {};
      const container = containers.get(spec.name);
      if (container?.State.Running && state.ActiveState === 'active') {
        // Seen twice: a program that does not exist ends only after the container has started.
        if (seen === container.Id) return;
        seen = container.Id;
      }
      if (state.ActiveState === 'failed' || state.SubState === 'auto-restart') {
        const code = exitCode(state);
        const how = code === undefined ? '' : ` with exit status ${code}`;
        throw await this.#startFailure(spec, `${spec.name} ended at once${how}.`, mark);
      }
      await sleep(POLL_MS);
    }
    throw await this.#startFailure(spec, `${spec.name} did not start within ${CONTAINER_TIMEOUT_MS / 1000} s.`, mark);
  }

  async #startFailure(spec: InstanceSpec, message: string, mark: string | undefined): Promise<DinpError> {
    await this.#journal.sync();
    const lines = await this.#journal.tail(spec.name, DETAIL_LINES, mark);
    return new DinpError('start-failed', message, { detail: lines.map(({ text }) => text).join('\n') });
  }

  /** Kills what runs with this variable: a killed `docker exec` or `podman exec` leaves its command, and what that started, behind. */
  async #killMarked(mark: string): Promise<void> {
    const script = 'grep -slzxF -e "$0" /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -KILL';
    await this.#host.run(['sh', '-c', script, mark]);
  }

  async #removeFiles(names: string[]): Promise<void> {
    const { engine, environmentFolder } = this.#options;
    const paths = names.flatMap((name) => [
      ...(engine.enables ? [`${engine.unitFolder}/${WANTS}/${name}.service`] : []),
      `${engine.unitFolder}/${name}${engine.unitEnding}`,
      ...['env', 'systemd-env'].map((ending) => `${environmentFolder}/${name}.${ending}`),
    ]);
    const { code, stderr } = await this.#host.run(['rm', '-f', '--', ...paths]);
    if (code === 0) return;
    throw new DinpError('unavailable', `Files of instances cannot be removed on ${this.#host.name}: ${stderr.trim()}.`);
  }
}

/** Names reach paths and command lines: only those of instances do. @throws DinpError usage */
function checkedName(name: string): string {
  if (/^dinp-[a-z0-9]+(?:-{1,2}[a-z0-9]+)*$/.test(name)) return name;
  throw new DinpError('usage', `${JSON.stringify(name)} is no instance.`);
}

/** Cuts chunks into lines; a last line without an end is left out. */
function lineSplitter(onLine: (line: string) => void): (chunk: Uint8Array) => void {
  const decoder = new TextDecoder();
  let rest = '';
  return (chunk) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
