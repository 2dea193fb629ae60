import { type ChildProcess, spawn } from 'node:child_process';
import type { FleetOption } from '../../src/run/fleet/fleet-client.ts';
import { readArgv, readLiteral, splitWords } from '../../src/unit/words.ts';

/** What `systemctl show` says of a unit. */
export interface UnitProperties {
  load: 'loaded';
  active: 'inactive' | 'activating' | 'active' | 'deactivating' | 'failed';
  sub: string;
}

/**
 * Runs the programs of a service's unit as systemd does (systemd.service(5)), as far as our units go: ExecStartPre, ExecStart,
 * Restart=always with RestartSec, Type=oneshot with RemainAfterExit, ExecStop, ExecStopPost, Environment.
 */
export class UnitRunner {
  readonly #options: FleetOption[];
  #properties: UnitProperties = { load: 'loaded', active: 'inactive', sub: 'dead' };
  #wanted = false;
  #child: ChildProcess | undefined;
  #run: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;

  constructor(options: FleetOption[]) {
    this.#options = options;
  }

  get properties(): UnitProperties {
    return this.#properties;
  }

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#run = this.#run.then(() => this.#loop());
  }

  async stop(): Promise<void> {
    if (this.#wanted) {
      this.#wanted = false;
      this.#wake();
      if (this.#child !== undefined || this.#properties.active === 'active') {
        this.#set('deactivating', 'stop');
        for (const command of this.#commands('ExecStop')) await this.#spawn(command);
        this.#child?.kill('SIGTERM');
      }
    }
    await this.#run;
    if (this.#properties.active === 'deactivating')
      for (const command of this.#commands('ExecStopPost')) await this.#spawn(command);
    if (this.#properties.active !== 'failed') this.#set('inactive', 'dead');
  }

  async #loop(): Promise<void> {
    while (this.#wanted) {
      const code = await this.#once();
      if (!this.#wanted) return;
      const isOneshot = this.#value('Type') === 'oneshot';
      if (isOneshot && code === 0 && this.#value('RemainAfterExit') === 'yes') {
        this.#set('active', 'exited');
        return;
      }
      for (const command of this.#commands('ExecStopPost')) await this.#spawn(command);
      if (this.#value('Restart') !== 'always') {
        this.#set(code === 0 ? 'inactive' : 'failed', code === 0 ? 'dead' : 'failed');
        return;
      }
      this.#set('activating', 'auto-restart');
      await this.#sleep(Number(this.#value('RestartSec') ?? '0.1') * 1000);
    }
  }

  async #once(): Promise<number> {
    this.#set('activating', 'start-pre');
    for (const command of this.#commands('ExecStartPre')) {
      const code = await this.#spawn(command);
      if (code !== 0) return code;
    }
    if (!this.#wanted) return 0;
    const isOneshot = this.#value('Type') === 'oneshot';
    this.#set(isOneshot ? 'activating' : 'active', isOneshot ? 'start' : 'running');
    return await this.#spawn(this.#commands('ExecStart')[0]!, (child) => (this.#child = child)).finally(() => {
      this.#child = undefined;
    });
  }

  #spawn([file, ...args]: string[], onChild: (child: ChildProcess) => void = () => undefined): Promise<number> {
    return new Promise((resolve) => {
      const child = spawn(file!, args, { stdio: 'ignore' });
      onChild(child);
      child.once('error', () => resolve(203));
      child.once('exit', (code) => resolve(code ?? 1));
    });
  }

  #commands(key: string): string[][] {
    const variables = new Map(
      this.#values('Environment')
        .flatMap(splitWords)
        .map((word) => readLiteral(word))
        .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
    );
    return this.#values(key).map((value) =>
      readArgv(value).map((word) => (typeof word === 'string' ? word : (variables.get(word.variable) ?? ''))),
    );
  }

  #values(key: string): string[] {
    return this.#options.filter(({ section, name }) => section === 'Service' && name === key).map(({ value }) => value);
  }

  #value(key: string): string | undefined {
    return this.#values(key).at(-1);
  }

  #set(active: UnitProperties['active'], sub: string): void {
    this.#properties = { load: 'loaded', active, sub };
  }

  /** Until then, or until it is stopped. */
  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
