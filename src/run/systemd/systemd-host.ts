import type { ContainerInspectInfo } from 'dockerode';
import { DinpError } from '../../domain/errors.ts';
import type { Host, RunResult } from '../host.ts';
import { parseFacts, parseShow, SHOWN, type UnitFacts, type UnitState } from './systemd-state.ts';
import type { UnitEngine } from './unit-engine.ts';

const TIMEOUT_MS = 30_000;
/** What the X-Dinp section of a unit says, one key a line. */
const FACTS = '^(Server|App|Release|Process|Index|HostPort)=';

/** systemd and the container engine of one host, as far as they concern instances. */
export class SystemdHost {
  readonly host: Host;
  readonly engine: UnitEngine;
  #checked = false;

  constructor(host: Host, engine: UnitEngine) {
    this.host = host;
    this.engine = engine;
  }

  /** @throws DinpError unavailable where systemd is not what runs the machine */
  async check(): Promise<void> {
    if (this.#checked) return;
    const { stdout, code } = await this.host.run(['systemctl', 'is-system-running'], { timeoutMs: TIMEOUT_MS });
    const state = stdout.trim();
    if (!['initializing', 'starting', 'running', 'degraded', 'maintenance', 'stopping'].includes(state)) {
      const what = code === 127 ? 'it has no systemctl' : `systemctl says ${state || `exit status ${code}`}`;
      throw new DinpError('unavailable', `${this.host.name} is not run by systemd: ${what}.`, {
        hint: 'Use the target docker, or a machine that systemd has booted.',
      });
    }
    this.#checked = true;
  }

  /** The units of dinp servers that are on the host. @throws DinpError unavailable */
  async facts(): Promise<UnitFacts[]> {
    const { unitFolder, unitEnding } = this.engine;
    const argv = ['grep', '-rHsE', `--include=dinp-*${unitEnding}`, FACTS, unitFolder];
    const { code, stdout, stderr } = await this.host.run(argv, { timeoutMs: TIMEOUT_MS });
    // Status 1: nothing found. With -s, unreadable files (removed meanwhile) are status 2 without a text.
    if (code > 2 || (code === 2 && stderr !== '')) {
      throw new DinpError('unavailable', `The unit files on ${this.host.name} cannot be read.`, {
        detail: stderr.trim(),
      });
    }
    return parseFacts(stdout);
  }

  async states(names: string[]): Promise<Map<string, UnitState>> {
    if (names.length === 0) return new Map();
    const { stdout } = await this.systemctl(['show', `--property=${SHOWN.join(',')}`, '--', ...units(names)]);
    return parseShow(stdout);
  }

  /** The containers of these names, as far as they exist. @throws DinpError unavailable */
  async containers(names: string[]): Promise<Map<string, ContainerInspectInfo>> {
    if (names.length === 0) return new Map();
    const argv = [this.engine.cli, 'container', 'inspect', ...names];
    const { stdout, stderr, code } = await this.host.run(argv, { timeoutMs: TIMEOUT_MS });
    if (code !== 0) this.#needEngine(code, stderr);
    const found = JSON.parse(stdout.trim() || '[]') as ContainerInspectInfo[];
    return new Map(found.map((info) => [info.Name.replace(/^\//, ''), info]));
  }

  /** Runs a command of the engine's CLI that must work. @throws DinpError unavailable, start-failed */
  async engineCommand(args: string[], options: { mayFail: boolean; timeoutMs?: number }): Promise<RunResult> {
    const { timeoutMs = TIMEOUT_MS } = options;
    const result = await this.host.run([this.engine.cli, ...args], { timeoutMs });
    if (result.code === 0) return result;
    this.#needEngine(result.code, result.stderr);
    if (options.mayFail) return result;
    throw new DinpError('start-failed', `${this.engine.title}: ${args[0]} failed on ${this.host.name}.`, {
      detail: result.stderr.trim(),
    });
  }

  /**
   * Runs systemctl.
   * @param okay exit statuses that are no failure, besides 0
   * @throws DinpError unavailable, with what systemctl said
   */
  async systemctl(args: string[], options: { okay?: number[]; timeoutMs?: number } = {}): Promise<RunResult> {
    const { okay = [], timeoutMs = TIMEOUT_MS } = options;
    const result = await this.host.run(['systemctl', '--no-pager', ...args], { timeoutMs });
    if (result.code === 0 || okay.includes(result.code)) return result;
    throw new DinpError(
      'unavailable',
      `systemctl ${args[0]} failed on ${this.host.name} (exit status ${result.code}).`,
      {
        detail: result.stderr.trim(),
        hint: 'It needs root. See: systemctl status',
      },
    );
  }

  #needEngine(code: number, stderr: string): void {
    if (code === 127) {
      throw new DinpError('unavailable', `${this.host.name} has no ${this.engine.cli}.`, {
        hint: this.engine.installHint,
      });
    }
    if (!this.engine.isDown(stderr)) return;
    throw new DinpError('unavailable', `The ${this.engine.title} of ${this.host.name} does not answer.`, {
      detail: stderr.trim(),
      hint: 'See: systemctl status docker',
    });
  }
}

/** Names of units of these instances. */
export function units(names: string[]): string[] {
  return names.map((name) => `${name}.service`);
}
