import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientChannel } from 'ssh2';
import { DinpError } from '../../domain/errors.ts';
import type { Host, RunOptions, RunResult, StreamOptions } from '../host.ts';
import { runToEnd } from '../run-to-end.ts';
import { shellWords } from '../shell-words.ts';
import type { SshSessions } from './ssh-sessions.ts';

/** How long a killed program may take to be gone. */
const KILL_MS = 5_000;
/**
 * $1 path, $2 mode, $3 name of the temporary file, $4 bytes: the end of the input alone does not say that all of it
 * came, since a lost connection ends it too; and what is said to nobody then must not kill the shell before it tidied up.
 */
const PUT_FILE = `set -e
trap '' PIPE
umask 022; mkdir -p -- "\${1%/*}"; umask 077
trap 'rm -f -- "$3"' EXIT
cat >"$3"
[ "$(wc -c <"$3")" -eq "$4" ] || { echo "only a part of it came" >&2; exit 1; }
chmod "$2" -- "$3"; sync -- "$3"; mv -fT -- "$3" "$1"; sync -- "\${1%/*}"`;

/**
 * A machine that is reached over SSH. Each program is a session of its own, and sshd makes it the leader of a process
 * group. Its id is the first that the session says: closing a session ends no program, and sshd passes signals on
 * (RFC 4254, 6.9) for other users than root only, so a second session kills the group.
 */
export class SshHost implements Host {
  readonly name: string;
  readonly #sessions: SshSessions;

  constructor(name: string, sessions: SshSessions) {
    this.name = name;
    this.#sessions = sessions;
  }

  async putFile(path: string, text: string, mode: number): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    const size = String(Buffer.byteLength(text));
    const argv = ['sh', '-c', PUT_FILE, 'sh', path, mode.toString(8), temporary, size];
    const { code, stderr } = await this.run(argv, { stdin: text });
    if (code === 0) return;
    throw new DinpError('unavailable', `${path} cannot be written on ${this.name}: ${stderr.trim()}.`);
  }

  async removeFile(path: string): Promise<void> {
    const { code, stderr } = await this.run(['rm', '-f', '--', path]);
    if (code === 0) return;
    throw new DinpError('unavailable', `${path} cannot be removed on ${this.name}: ${stderr.trim()}.`);
  }

  async run(argv: string[], options?: RunOptions): Promise<RunResult> {
    return await runToEnd(this, argv, options);
  }

  async *follow(argv: string[], options: { signal: AbortSignal }): AsyncGenerator<string> {
    if (options.signal.aborted) return;
    await using program = await this.#start(argv);
    const { channel } = program;
    channel.end();
    channel.stderr.resume();
    const kill = () => void program.kill();
    options.signal.addEventListener('abort', kill, { once: true });
    try {
      for await (const line of createInterface({ input: channel, crlfDelay: Number.POSITIVE_INFINITY })) yield line;
      // Only where it ended by itself: whoever reads no further leaves by `finally`.
      if (!options.signal.aborted && (await program.closed) === undefined) throw this.#lost(argv);
    } finally {
      options.signal.removeEventListener('abort', kill);
    }
  }

  async stream(argv: string[], options: StreamOptions): Promise<number> {
    const { signal } = options;
    if (signal.aborted) throw canceled(argv);
    await using program = await this.#start(argv);
    const { channel } = program;
    const kill = () => void program.kill();
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
    try {
      void feed(channel, options.stdin);
      const drained = [drain(channel, options.onStdout, signal), drain(channel.stderr, options.onStderr, signal)];
      const [code] = await Promise.all([program.closed, ...drained]);
      if (signal.aborted) throw canceled(argv);
      if (code === undefined) throw this.#lost(argv);
      return code;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  async #start(argv: string[]): Promise<RemoteProgram> {
    if (argv.length === 0) throw new Error('no program to run');
    const mark = `dinp-${randomBytes(8).toString('hex')}`;
    // exec: the program takes the place of the shell, as the leader of the group.
    const { channel, release } = await this.#sessions.open(`echo ${mark} $$; exec ${shellWords(argv)}`);
    const program = new RemoteProgram(channel, release, (pid) => this.#killGroup(pid));
    try {
      if (await program.begin(mark, this.name)) return program;
      throw this.#lost(argv);
    } catch (error) {
      channel.destroy();
      release();
      throw error;
    }
  }

  async #killGroup(pid: number): Promise<void> {
    const { channel, release } = await this.#sessions.open(`kill -KILL -- -${pid}`);
    channel.on('error', () => {});
    channel.once('close', release);
    channel.resume();
    channel.stderr.resume();
  }

  #lost(argv: string[]): DinpError {
    return new DinpError('unavailable', `The connection to ${this.name} was lost while ${argv[0]} ran there.`);
  }
}

/** A program that was started over there. Disposing kills it where it still runs. */
class RemoteProgram implements AsyncDisposable {
  readonly channel: ClientChannel;
  /** Its exit status, once it has ended and nobody holds its output open; undefined where the connection was lost. */
  readonly closed: Promise<number | undefined>;
  readonly #release: () => void;
  readonly #killGroup: (pid: number) => Promise<void>;
  #pid = 0;
  #isOpen = true;

  constructor(channel: ClientChannel, release: () => void, killGroup: (pid: number) => Promise<void>) {
    this.channel = channel;
    this.#release = release;
    this.#killGroup = killGroup;
    channel.on('error', () => {});
    this.closed = new Promise((resolve) => {
      // Not by `exit`: where a program is quick and we are slow, that is over before anybody can listen.
      channel.once('close', (status?: number | null, signal?: string) => {
        this.#isOpen = false;
        resolve(status === null ? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0) : status);
      });
    });
  }

  /**
   * Reads the line with the mark and the process id, and throws away what the account's shell says before it.
   * @returns false where the connection was lost
   * @throws DinpError unavailable where the shell ended without it
   */
  async begin(mark: string, host: string): Promise<boolean> {
    let said = '';
    for await (const chunk of readChunks(this.channel, this.closed)) {
      said += chunk.toString('latin1');
      const found = new RegExp(`${mark} (\\d+)\n`).exec(said);
      if (found === null) continue;
      this.#pid = Number(found[1]);
      const rest = said.slice(found.index + found[0].length);
      if (rest !== '') this.channel.unshift(Buffer.from(rest, 'latin1'));
      return true;
    }
    if ((await this.closed) === undefined) return false;
    throw new DinpError('unavailable', `The shell on ${host} starts no program.`, {
      detail: said.trim().slice(-500),
      hint: 'The account there needs a POSIX shell.',
    });
  }

  /** Kills it and its children, and waits until it is gone. */
  async kill(): Promise<void> {
    if (!this.#isOpen) return;
    // A channel whose output nobody reads never closes.
    this.channel.resume();
    this.channel.stderr.resume();
    await this.#killGroup(this.#pid).catch(() => {});
    await Promise.race([this.closed, sleep(KILL_MS, undefined, { ref: false })]);
    if (this.#isOpen) this.channel.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#release();
  }
}

/** What a stream has, as it comes, without taking it from who reads it next. */
async function* readChunks(from: Readable, closed: Promise<unknown>): AsyncGenerator<Buffer> {
  let isClosed = false;
  void closed.then(() => {
    isClosed = true;
  });
  for (;;) {
    const chunk = from.read() as Buffer | null;
    if (chunk !== null) yield chunk;
    else if (isClosed || from.readableEnded) return;
    else await Promise.race([once(from, 'readable'), once(from, 'end'), closed]);
  }
}

/** Gives chunks on as fast as they are taken; once aborted, what still comes is thrown away. */
function drain(from: Readable, to: (chunk: Uint8Array) => void | Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    from.on('data', (chunk: Uint8Array) => {
      if (signal.aborted) return;
      const taken = to(chunk);
      if (taken === undefined) return;
      from.pause();
      taken.then(() => from.resume(), reject);
    });
    from.once('end', resolve);
    from.once('close', resolve);
  });
}

/** Writes stdin and closes it; the program may end before it has read all of it. */
async function feed(to: ClientChannel, from: AsyncIterable<Uint8Array> | undefined): Promise<void> {
  const closed = new Promise<void>((resolve) => to.once('close', resolve));
  try {
    for await (const chunk of from ?? []) {
      if (!to.writable) return;
      if (!to.write(chunk)) await Promise.race([once(to, 'drain').catch(() => {}), closed]);
    }
  } catch {
    // The sender broke off: the program sees the end of its input.
  }
  to.end();
}

function canceled(argv: string[]): DinpError {
  return new DinpError('canceled', `${argv[0]} was canceled.`);
}
