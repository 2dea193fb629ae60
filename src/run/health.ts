import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';
import { canceled } from './canceled.ts';
import { checkCommand } from './check-command.ts';
import { explainFailure, labelOf, portHint } from './health-failure.ts';
import { type Address, probeHttp, probeTcp, type Verdict } from './probe.ts';
import type { Target } from './target.ts';

export interface WaitOptions {
  /** Lines for the pusher while it takes long. */
  onProgress(line: string): void;
  signal: AbortSignal;
  /** Host header of HTTP checks, for apps that answer only to their own name. */
  hostHeader?: string;
}

/** How long it took, and what proved it: `accepts connections on port 8080`. */
export interface Healthy {
  milliseconds: number;
  proof: string;
}

/** How long a process without a port must stay up to count as started. */
const STAY_UP_MS = 10_000;
const FIRST_PAUSE_MS = 50;
const FIRST_NOTE_MS = 5_000;
const NOTE_EVERY_MS = 15_000;
/** Somebody who listens elsewhere for so long has most likely the wrong port, and is told before the wait is over. */
const ELSEWHERE_MS = 3_000;
const LISTENERS_EVERY_MS = 1_000;
/** A direct connection within one machine takes well under a millisecond. */
const DIRECT_TIMEOUT_MS = 1_000;

/**
 * Waits until a started instance is healthy. Looks often at first and less and less later (a tenth of the time
 * passed, at most the check's interval), so a quick app is live at once and a slow one is not drowned in checks.
 * @throws DinpError start-failed with the instance's last log lines when it exits, restarts or is not healthy within
 * `startMs`; unavailable; canceled
 */
export async function waitHealthy(target: Target, spec: InstanceSpec, options: WaitOptions): Promise<Healthy> {
  const wait = new HealthWait(target, spec, options);
  return await wait.run();
}

class HealthWait {
  readonly #target: Target;
  readonly #spec: InstanceSpec;
  readonly #options: WaitOptions;
  readonly #begin = performance.now();
  #restartsBefore: number | undefined;
  /** Set once the instance's own address turned out to be out of reach from here. */
  #onlyPublished = false;
  #problem = '';
  /** The end of the wait left the present look too little time: what an earlier one saw says more than its timeout. */
  #isCutShort = false;
  #nextNoteMs = FIRST_NOTE_MS;
  #nextListenersMs = 0;
  /** Since when it listens, but not where it should; undefined while it does not, and told once. */
  #elsewhere: { hint: string; sinceMs: number } | 'told' | undefined;

  constructor(target: Target, spec: InstanceSpec, options: WaitOptions) {
    this.#target = target;
    this.#spec = spec;
    this.#options = options;
  }

  async run(): Promise<Healthy> {
    const { signal } = this.#options;
    const { health } = this.#spec;
    if (health.kind === 'none') return { milliseconds: 0, proof: 'started, not checked' };
    for (;;) {
      if (signal.aborted) throw canceled(signal);
      const instance = await this.#find();
      await this.#failIfDown(instance);
      const proof = await this.#check(instance);
      if (proof !== undefined) return { milliseconds: this.#elapsed(), proof };
      if (this.#elapsed() >= health.startMs) throw await this.#late();
      this.#note();
      await this.#lookElsewhere();
      await this.#pause();
    }
  }

  #elapsed(): number {
    return performance.now() - this.#begin;
  }

  async #find(): Promise<RunningInstance> {
    const { name, app } = this.#spec;
    const found = this.#target.find
      ? await this.#target.find(name)
      : (await this.#target.list(app)).find((instance) => instance.name === name);
    if (found !== undefined) return found;
    throw new DinpError('start-failed', `${labelOf(this.#spec)} was removed while it started.`);
  }

  /** An exit during the start is final, also where the engine starts the instance again and again. */
  async #failIfDown(instance: RunningInstance): Promise<void> {
    this.#restartsBefore ??= instance.restarts;
    const isDown = instance.state === 'exited' || instance.state === 'restarting';
    if (!isDown && instance.restarts <= this.#restartsBefore) return;
    const { startedAt, exitedAt, exitCode } = instance;
    const known = isDown && startedAt !== undefined && exitedAt !== undefined && exitedAt >= startedAt;
    const after = seconds(known ? exitedAt - startedAt : this.#elapsed());
    if (isDown && instance.problem !== undefined)
      throw await this.#failure(`could not start: ${instance.problem}`, instance);
    if (instance.outOfMemory) throw await this.#failure(`was killed after ${after}: out of memory`, instance);
    const status = exitCode === undefined ? '' : ` with status ${exitCode}`;
    throw await this.#failure(`exited${status} after ${after}`, instance);
  }

  /** The proof that it is healthy, or undefined with `#problem` set. */
  async #check(instance: RunningInstance): Promise<string | undefined> {
    const { health, port } = this.#spec;
    if (instance.state === 'starting' && instance.problem !== undefined) {
      this.#problem = instance.problem;
      return undefined;
    }
    switch (health.kind) {
      case 'http':
        return await this.#checkHttp(instance);
      case 'tcp':
        return await this.#checkTcp(instance);
      case 'command':
        if (this.#target.runsHealthCommands) return this.#checkByEngine(instance);
        return await this.#checkCommand(['sh', '-c', health.command ?? 'true'], 'passes its health command');
      default:
        if (instance.healthy !== undefined || instance.state === 'starting') return await this.#checkImage(instance);
        return port === undefined ? this.#checkStayedUp() : await this.#checkTcp(instance);
    }
  }

  async #checkHttp(instance: RunningInstance): Promise<string | undefined> {
    const { path = '/', contains, timeoutMs } = this.#spec.health;
    const { hostHeader } = this.#options;
    const verdict = await this.#knock(instance, (address, isDirect) =>
      probeHttp(address, { path, contains, hostHeader, timeoutMs: this.#limit(timeoutMs), behindProxy: !isDirect }),
    );
    return this.#take(verdict, `answers GET ${path}`);
  }

  async #checkTcp(instance: RunningInstance): Promise<string | undefined> {
    const { timeoutMs } = this.#spec.health;
    const verdict = await this.#knock(instance, (address, isDirect) =>
      probeTcp(address, {
        timeoutMs: this.#limit(isDirect ? Math.min(timeoutMs, DIRECT_TIMEOUT_MS) : timeoutMs),
        behindProxy: !isDirect,
      }),
    );
    return this.#take(verdict, `accepts connections on port ${this.#spec.port?.container}`);
  }

  /**
   * At the instance's own address first, where nothing stands between, and at its published port where that
   * address is out of reach (another machine, a desktop engine in a virtual machine).
   */
  async #knock(
    instance: RunningInstance,
    probe: (address: Address, isDirect: boolean) => Promise<Verdict>,
  ): Promise<Verdict> {
    const { port } = this.#spec;
    if (port === undefined) {
      const message = `${labelOf(this.#spec)} has a health check by ${this.#spec.health.kind} but no port.`;
      throw new DinpError('config', message, { hint: 'Set "port:" for this process in dinp.yml.' });
    }
    if (instance.address !== undefined && !this.#onlyPublished) {
      const direct = await probe({ host: instance.address, port: port.container }, true);
      if (direct.kind !== 'unreachable') return direct;
      this.#onlyPublished = true;
    }
    const host = instance.hostAddress ?? port.address ?? '127.0.0.1';
    const published = await probe({ host, port: port.host }, false);
    return published.kind === 'unreachable' ? { kind: 'unhealthy', problem: 'did not accept connections' } : published;
  }

  #take(verdict: Verdict, proof: string): string | undefined {
    if (verdict.kind === 'healthy') return proof;
    const problem = verdict.kind === 'unhealthy' ? verdict.problem : 'could not be reached';
    if (verdict.kind === 'unhealthy' && verdict.isTimeout && this.#isCutShort && this.#problem !== '') return undefined;
    this.#problem = /connections$/.test(problem) ? `${problem} on port ${this.#spec.port?.container}` : problem;
    return undefined;
  }

  async #checkImage(instance: RunningInstance): Promise<string | undefined> {
    if (instance.healthy === true) return 'passes its HEALTHCHECK';
    if (instance.healthy === false) throw await this.#failure('failed its HEALTHCHECK', instance);
    // The engine looks for the first time after a whole interval, 30 s where the image does not say.
    if (instance.healthCommand !== undefined)
      return await this.#checkCommand(instance.healthCommand, 'passes its HEALTHCHECK');
    this.#problem = 'did not pass its HEALTHCHECK';
    return undefined;
  }

  #checkByEngine({ state }: RunningInstance): string | undefined {
    if (state === 'running') return 'passes its health command';
    this.#problem = 'did not pass its health command';
    return undefined;
  }

  async #checkCommand(command: string[], proof: string): Promise<string | undefined> {
    const timeoutMs = this.#limit(this.#spec.health.timeoutMs);
    const { signal } = this.#options;
    const result = await checkCommand(this.#target, this.#spec.name, command, { timeoutMs, signal });
    if (result.kind === 'passed') return proof;
    const what = proof.replace(/^passes/, 'did not pass');
    if (result.kind === 'failed') this.#problem = `${what}${result.said}`;
    else if (!this.#isCutShort || this.#problem === '') this.#problem = `${what} (it took too long)`;
    return undefined;
  }

  #checkStayedUp(): string | undefined {
    const stayUpMs = Math.min(STAY_UP_MS, this.#spec.health.startMs);
    return this.#elapsed() >= stayUpMs ? `has stayed up for ${seconds(stayUpMs)}` : undefined;
  }

  /** No single look goes on beyond the end of the whole wait (but every look gets a moment). */
  #limit(timeoutMs: number): number {
    const left = Math.ceil(Math.max(100, this.#spec.health.startMs - this.#elapsed()));
    this.#isCutShort = left < timeoutMs;
    return Math.min(left, timeoutMs);
  }

  #note(): void {
    const elapsed = this.#elapsed();
    if (elapsed < this.#nextNoteMs || this.#problem === '') return;
    this.#nextNoteMs = elapsed + NOTE_EVERY_MS;
    const yet = this.#problem.startsWith('did not') ? ' yet' : '';
    this.#options.onProgress(`${labelOf(this.#spec)} ${this.#problem}${yet} (${seconds(elapsed)})`);
  }

  /** Says once where it listens instead of its port; it may still come, as behind a debugger's port, so the wait goes on. */
  async #lookElsewhere(): Promise<void> {
    const elapsed = this.#elapsed();
    if (this.#elsewhere === 'told' || !/ connections on port \d+$/.test(this.#problem)) return;
    if (elapsed < this.#nextListenersMs) return;
    this.#nextListenersMs = elapsed + LISTENERS_EVERY_MS;
    const listeners = await this.#target.listeners?.(this.#spec.name).catch(() => undefined);
    const hint = listeners?.length ? portHint(this.#spec, listeners) : undefined;
    if (hint === undefined || this.#elsewhere?.hint !== hint) {
      this.#elsewhere = hint === undefined ? undefined : { hint, sinceMs: elapsed };
    } else if (elapsed - this.#elsewhere.sinceMs >= ELSEWHERE_MS) {
      this.#elsewhere = 'told';
      this.#options.onProgress(`${labelOf(this.#spec)}: ${hint}`);
    }
  }

  async #late(): Promise<DinpError> {
    const time = seconds(this.#spec.health.startMs);
    return await this.#failure(
      `${this.#problem}${this.#problem.startsWith('did not') ? ' within ' : ', still after '}${time}`,
    );
  }

  async #pause(): Promise<void> {
    const { intervalMs, startMs } = this.#spec.health;
    const elapsed = this.#elapsed();
    const pause = Math.min(Math.max(FIRST_PAUSE_MS, elapsed / 10), Math.max(intervalMs, FIRST_PAUSE_MS));
    await sleep(Math.max(0, Math.min(pause, startMs - elapsed)), undefined, { signal: this.#options.signal }).catch(
      () => {},
    );
  }

  async #failure(what: string, instance?: RunningInstance): Promise<DinpError> {
    return await explainFailure(this.#target, this.#spec, what, instance);
  }
}

function seconds(milliseconds: number): string {
  const value = milliseconds / 1000;
  return `${value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value)} s`;
}
