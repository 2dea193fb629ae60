import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { DinpError } from '../domain/errors.ts';
import type { Identity } from '../domain/identity.ts';
import type { PushOutcome } from '../domain/ref-command.ts';
import { type GitService, type GitServiceSettings, gitServiceCommand } from '../git/receive-pack.ts';
import type { ChannelInput, ReceiveWindow } from './channel-input.ts';
import type { ChannelOutput } from './channel-output.ts';
import { type HookRecord, HookRecordParser, procReceiveReport } from './hook-records.ts';
import type { Log } from './log.ts';
import type { JudgeReply, JudgeRequest } from './protocol.ts';
import { PushPrelude } from './push-prelude.ts';
import type { Requests } from './requests.ts';

/** What serving git needs of a session. */
export interface GitSessionContext {
  identity: Identity;
  requests: Requests;
  git: GitServiceSettings;
  input: ChannelInput;
  output: ChannelOutput;
  window: ReceiveWindow;
  /** Round trip of the client's path. */
  roundTripMs: number;
  /** GIT_PROTOCOL as the client sent it. */
  protocol: string | undefined;
  /** Aborted when the client closed the session or is lost. */
  gone: AbortSignal;
  /** Told when a push begins and when the control process knows what it came to. */
  onReceiving(app: string, active: boolean): void;
  log: Log;
}

const SHALLOW = `This clone is shallow, and a shallow push cannot be deployed: commits are missing in it.
Get them, then push again:  git fetch --unshallow`;

/** Serves one `git push`, `git fetch` or `git clone`. @returns the exit status for the client */
export async function serveGit(
  exec: { service: GitService; name: string },
  session: GitSessionContext,
): Promise<number> {
  const { identity, requests } = session;
  const reply = await requests.request({ kind: 'open', identity, service: exec.service, name: exec.name });
  if (!reply.ok) {
    session.input.drain();
    await session.output.say(reply.text);
    return 1;
  }
  const command = gitServiceCommand(exec.service, reply.repository, session.git, session.protocol);
  if (exec.service === 'git-upload-pack') {
    const git = spawn(command.file, command.args, { env: command.env, cwd: '/', stdio: 'pipe', detached: true });
    return uploadPack(git, session);
  }
  session.onReceiving(reply.app, true);
  try {
    const stdio = ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'] as const;
    const git = spawn(command.file, command.args, { env: command.env, cwd: '/', stdio: [...stdio], detached: true });
    return await new Push(reply.app, git, session).run();
  } finally {
    session.onReceiving(reply.app, false);
  }
}

async function uploadPack(git: ChildProcess, session: GitSessionContext): Promise<number> {
  session.input.pipe(git.stdin!);
  const stop = () => git.kill('SIGTERM');
  session.gone.addEventListener('abort', stop, { once: true });
  try {
    return await runGit(git, session);
  } finally {
    session.gone.removeEventListener('abort', stop);
  }
}

/** Copies git's output to the client as fast as that reads. @returns git's exit status, 1 where a signal ended it */
async function runGit(git: ChildProcess, session: GitSessionContext): Promise<number> {
  const status = new Promise<number>((resolve, reject) => {
    git.once('error', (cause) => reject(new DinpError('unavailable', 'git could not be started.', { cause })));
    git.once('exit', (code) => resolve(code ?? 1));
  });
  const copied = Promise.all([copy(git.stdout!, 1, session.output), copy(git.stderr!, 2, session.output)]);
  copied.catch(() => {});
  const code = await status;
  await copied;
  return code;
}

/** Reads to the end in any case: a git that nobody reads would stop in the middle of a push. */
async function copy(from: Readable, fd: 1 | 2, output: ChannelOutput): Promise<void> {
  for await (const chunk of from) await output.write(fd, chunk as Buffer);
}

/** One `git receive-pack`, what its hooks ask and tell, and what follows from it. */
class Push {
  readonly #app: string;
  readonly #git: ChildProcess;
  readonly #session: GitSessionContext;
  readonly #prelude = new PushPrelude();
  readonly #outcome: PushOutcome = { applied: [], asked: [], options: [], status: 0 };

  constructor(app: string, git: ChildProcess, session: GitSessionContext) {
    this.#app = app;
    this.#git = git;
    this.#session = session;
  }

  async run(): Promise<number> {
    const session = this.#session;
    session.window.fit(session.roundTripMs);
    session.input.pipe(this.#git.stdin!, (chunk) => this.#prelude.push(chunk));
    const hooks = this.#answerHooks();
    hooks.catch(() => {});
    this.#outcome.status = await runGit(this.#git, session);
    await hooks;
    const { applied, asked, status } = this.#outcome;
    if (this.#prelude.kind === 'shallow' && applied.length === 0) await session.output.say(SHALLOW);
    // The push had commands, but git refused them before any hook was asked, and has said why.
    if (asked.length === 0 && this.#prelude.kind !== 'nothing') return status || 1;
    return this.#settle();
  }

  /** Hooks ask one at a time, and receive-pack ends its side of the pipe when it ends. */
  async #answerHooks(): Promise<void> {
    const records = this.#git.stdio[3] as Readable;
    const verdicts = this.#git.stdio[4] as Writable;
    // A hook that died before it read its verdict: its receive-pack says so.
    verdicts.on('error', () => {});
    verdicts.on('data', () => {});
    const parser = new HookRecordParser();
    try {
      for await (const chunk of records) {
        for (const record of parser.push(chunk as Buffer)) await this.#answer(record, verdicts);
      }
    } finally {
      // Whatever still asks reads the end of file, which is a refusal.
      verdicts.end();
    }
  }

  async #answer(record: HookRecord, verdicts: Writable): Promise<void> {
    if (record.hook === 'post-receive') {
      this.#outcome.applied = record.commands;
      return;
    }
    if (record.hook === 'proc-receive') {
      verdicts.write(await this.#procReceive());
      return;
    }
    if (record.hook === 'pre-receive') {
      this.#outcome.asked = record.commands;
      this.#outcome.options = record.options;
    }
    const verdict = await this.#judge({ ...record, hook: record.hook });
    verdicts.write(verdict.ok ? 'ok\n' : 'no\n');
  }

  async #procReceive(): Promise<string> {
    const verdicts: { ref: string; refusal: string | undefined }[] = [];
    for (const command of this.#outcome.asked.filter(({ ref }) => ref.startsWith('refs/deploy/'))) {
      const verdict = await this.#judge({ hook: 'proc-receive', commands: [command], quarantine: undefined });
      verdicts.push({ ref: command.ref, refusal: verdict.ok ? undefined : verdict.reason });
    }
    return procReceiveReport(verdicts);
  }

  /** Asks the control process; its words reach the terminal before git's own. */
  async #judge(record: Pick<JudgeRequest, 'hook' | 'commands' | 'quarantine'>): Promise<JudgeReply> {
    const { requests, identity, output } = this.#session;
    const verdict = await requests.request({
      kind: 'judge',
      app: this.#app,
      hook: record.hook,
      commands: record.commands,
      asked: this.#outcome.asked,
      options: this.#outcome.options,
      quarantine: record.quarantine,
      identity,
    });
    await output.say(verdict.text);
    return verdict;
  }

  /** Also for a client that is gone: refs that moved are deployed whoever watches. */
  async #settle(): Promise<number> {
    const { requests, identity, output, gone } = this.#session;
    return requests.stream({ kind: 'settle', app: this.#app, identity, outcome: this.#outcome }, output, {
      signal: gone,
    });
  }
}
