import { setTimeout as sleep } from 'node:timers/promises';
import { DinpError } from '../../domain/errors.ts';
import type { UnitFile } from '../../domain/unit-file.ts';
import type { Host } from '../host.ts';
import { parseJournalLine } from './systemd-journal.ts';

/** How a unit of Type=oneshot ended. */
export interface OneshotEnd {
  /** What systemd calls it: `success`, `exit-code`, `signal`, `oom-kill`, `timeout`; `gone` where the unit is not there any more. */
  result: string;
  /** Which of its commands failed, from 0; undefined where none did. */
  command: number | undefined;
  /** How that one ended: `exit status 1`, `signal 15/TERM`. */
  how: string;
}

/** Gone after a reboot, as are the folders of builds. */
const UNIT_FOLDER = '/run/systemd/system';
const TIMEOUT_MS = 30_000;
/** TimeoutStopSec of the unit, and some. */
const STOP_TIMEOUT_MS = 60_000;
const POLL_MS = 400;
/** How long a host may be away before a unit on it is given up. */
const AWAY_MS = 60_000;
const AWAY_PAUSE_MS = 1_000;
const FORMAT = ['--output=json', '--output-fields=MESSAGE,_SYSTEMD_UNIT', '--all', '--quiet', '--no-pager'];

/**
 * Starts a unit that does one thing and ends, and follows it. The unit lives without us: where the connection is lost, it is looked
 * for again and its output goes on where it was left.
 * @param unit one with RemainAfterExit=yes, whose name was never used before
 * @param options.onLine each line that its programs print, in order
 * @throws DinpError canceled once the signal has aborted (the unit still runs then: removeOneshot), unavailable
 */
export async function runOneshot(
  host: Host,
  unit: UnitFile,
  options: { onLine(line: string): void; signal: AbortSignal },
): Promise<OneshotEnd> {
  await host.putFile(`${UNIT_FOLDER}/${unit.name}`, unit.text, 0o644);
  if (options.signal.aborted) throw canceled(unit.name);
  const start = () => systemctl(host, ['start', '--no-block', '--', unit.name], { okay: [5] });
  // 5: not found. A unit that was never there is found without a reload, which takes long where there are many.
  if ((await start()).code === 5) {
    await systemctl(host, ['daemon-reload']);
    await start();
  }
  return await new Watch(host, unit.name, options).toEnd();
}

/**
 * Stops a unit where it still runs, and takes it away. One that is not there is fine.
 * @param unit its name, without `.service`
 * @throws DinpError unavailable
 */
export async function removeOneshot(host: Host, unit: string): Promise<void> {
  const argv = ['sh', '-c', REMOVE, 'sh', `${unit}.service`, `${UNIT_FOLDER}/${unit}.service`];
  const { code, stderr } = await host.run(argv, { timeoutMs: STOP_TIMEOUT_MS });
  if (code === 0) return;
  throw new DinpError('unavailable', `${unit} cannot be stopped on ${host.name}.`, { detail: stderr.trim() });
}

/** $1: the unit; $2: its file. 5: it is not loaded. */
const REMOVE = `systemctl stop -- "$1" || [ $? -eq 5 ] || exit 1
rm -f -- "$2"; systemctl reset-failed -- "$1" 2>/dev/null; :`;
/** $1: how the names begin; $2: folder with a folder for each. */
const LIST = `for found in ${UNIT_FOLDER}/"$1"*.service "$2"/"$1"*; do
  [ -e "$found" ] && found=\${found##*/} && echo "\${found%.service}"
done; :`;

/** Names (without `.service`) of units of ours that are on a host, also of those of which only the folder is left. */
export async function listOneshots(host: Host, prefix: string, folder: string): Promise<string[]> {
  const { stdout } = await host.run(['sh', '-c', LIST, 'sh', prefix, folder], { timeoutMs: TIMEOUT_MS });
  return [...new Set(stdout.split('\n').filter((line) => line !== ''))];
}

/** Follows one unit until it has ended. */
class Watch {
  readonly #host: Host;
  readonly #unit: string;
  readonly #options: { onLine(line: string): void; signal: AbortSignal };
  /** Of the last line that was read. */
  #cursor: string | undefined;
  #heardAt = Date.now();

  constructor(host: Host, unit: string, options: { onLine(line: string): void; signal: AbortSignal }) {
    this.#host = host;
    this.#unit = unit;
    this.#options = options;
  }

  async toEnd(): Promise<OneshotEnd> {
    const { signal } = this.#options;
    for (;;) {
      try {
        return await this.#follow();
      } catch (error) {
        if (signal.aborted) throw canceled(this.#unit);
        if (!isAway(error) || Date.now() - this.#heardAt > AWAY_MS) throw error;
        await sleep(AWAY_PAUSE_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Reads its lines as they come, and the rest once it has ended. */
  async #follow(): Promise<OneshotEnd> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, stop.signal]);
    const end = this.#end(signal).finally(() => stop.abort());
    // Where following fails first, nobody waits for it.
    end.catch(() => undefined);
    try {
      for await (const line of this.#host.follow(this.#journal('--follow', '--no-tail'), { signal })) this.#take(line);
      const found = await end;
      await this.#host.run(['journalctl', '--sync'], { timeoutMs: TIMEOUT_MS });
      const rest = await this.#host.run(this.#journal(), { timeoutMs: TIMEOUT_MS });
      for (const line of rest.stdout.split('\n')) this.#take(line);
      return found;
    } finally {
      stop.abort();
    }
  }

  /** Waits for the unit's end. */
  async #end(signal: AbortSignal): Promise<OneshotEnd> {
    for (;;) {
      if (signal.aborted) throw canceled(this.#unit);
      const properties = '--property=LoadState,ActiveState,Result,Job,ExecStart';
      const { stdout } = await systemctl(this.#host, ['show', properties, '--', this.#unit]);
      this.#heardAt = Date.now();
      const end = oneshotEnd(stdout);
      if (end !== undefined) return end;
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #take(line: string): void {
    for (const { cursor, text } of parseJournalLine(line)) {
      this.#cursor = cursor;
      this.#heardAt = Date.now();
      this.#options.onLine(text);
    }
  }

  #journal(...more: string[]): string[] {
    const from = this.#cursor === undefined ? [] : [`--after-cursor=${this.#cursor}`];
    return ['journalctl', ...FORMAT, ...more, ...from, `_SYSTEMD_UNIT=${this.#unit}`];
  }
}

/** Reads `systemctl show` of a unit of Type=oneshot with RemainAfterExit=yes; undefined while it runs or waits for its start. */
export function oneshotEnd(shown: string): OneshotEnd | undefined {
  const lines = shown.split('\n');
  const value = (key: string) => lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1) ?? '';
  const state = value('ActiveState');
  const commands = lines
    .filter((line) => line.startsWith('ExecStart='))
    .map((line) => / ; code=(\S+) ; status=(\S+) \}$/.exec(line) ?? [])
    .map(([, code = '(null)', status = '']) => ({ code, status }));
  // (null): its turn has not come, or it runs.
  const command = commands.findIndex(
    ({ code, status }) => code !== '(null)' && !(code === 'exited' && Number.parseInt(status, 10) === 0),
  );
  const failed = commands[command];
  const how = failed === undefined ? '' : `${failed.code === 'exited' ? 'exit status' : 'signal'} ${failed.status}`;
  const found = { command: command < 0 ? undefined : command, how };
  if (value('LoadState') === 'not-found') return { result: 'gone', ...found };
  if (state === 'active') return { result: 'success', command: undefined, how: '' };
  if (state === 'failed') return { result: value('Result'), ...found };
  // Between the order and the start; else somebody has stopped it there.
  if (state === 'inactive' && !/^[1-9]/.test(value('Job'))) return { result: 'gone', ...found };
  return undefined;
}

async function systemctl(
  host: Host,
  args: string[],
  { okay = [], timeoutMs = TIMEOUT_MS }: { okay?: number[]; timeoutMs?: number } = {},
) {
  const result = await host.run(['systemctl', '--no-pager', ...args], { timeoutMs });
  if (result.code === 0 || okay.includes(result.code)) return result;
  throw new DinpError('unavailable', `systemctl ${args[0]} failed on ${host.name} (exit status ${result.code}).`, {
    detail: result.stderr.trim(),
  });
}

function isAway(error: unknown): boolean {
  return error instanceof DinpError && (error.code === 'unavailable' || error.code === 'timeout');
}

function canceled(unit: string): DinpError {
  return new DinpError('canceled', `${unit} was canceled.`);
}
