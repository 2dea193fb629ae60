import type { ChannelInput, ReceiveWindow } from './channel-input.ts';
import type { ChannelOutput } from './channel-output.ts';
import { errorText } from './error-text.ts';
import { parseExec } from './exec.ts';
import { type GitSessionContext, serveGit } from './git-session.ts';

/** One command of one client: where its input comes from, where its output goes, and for whom it runs. */
export interface Session extends GitSessionContext {
  /** undefined for a shell: `ssh dinp@host` without a command. */
  command: string | undefined;
  terminal: { columns: number } | undefined;
  input: ChannelInput;
  output: ChannelOutput;
  window: ReceiveWindow;
  /** How a client would call us from its shell, for hints: `ssh dinp@host`. */
  program: string;
}

const CTRL_C = 3;
const CTRL_D = 4;
const INTERRUPTED = 130;

/**
 * Runs what a client asked for and ends its channel with the exit status. Whatever goes wrong is told on stderr with
 * status 1: a failure never looks like success, and never leaves the client waiting.
 */
export async function runSession(session: Session): Promise<void> {
  let code = 1;
  try {
    code = await dispatch(session);
  } catch (error) {
    session.log('error', 'a session failed', { error: error instanceof Error ? error.stack : String(error) });
    await session.output.say(errorText(error));
  } finally {
    await session.output.finish(code);
  }
}

async function dispatch(session: Session): Promise<number> {
  if (session.command === undefined) return runCommand(session, []);
  const exec = parseExec(session.command);
  switch (exec.kind) {
    case 'git':
      return serveGit(exec, session);
    case 'command':
      return runCommand(session, exec.argv);
    case 'refused':
      session.input.drain();
      await session.output.say(exec.text);
      return 1;
  }
}

/** Hands a command line to the control process, which prints and decides the exit status. */
async function runCommand(session: Session, argv: string[]): Promise<number> {
  const { identity, input, output, terminal, program, requests } = session;
  const interrupt = new AbortController();
  const withInput = session.command !== undefined && terminal === undefined;
  // A terminal is in raw mode and nothing here reads keys, but those that end a program must.
  if (!withInput) {
    input.drain((keys) => {
      if (terminal !== undefined && (keys.includes(CTRL_C) || keys.includes(CTRL_D))) interrupt.abort();
    });
  }
  const stopped = new Promise<number>((resolve) => {
    interrupt.signal.addEventListener('abort', () => resolve(INTERRUPTED), { once: true });
  });
  const request = {
    kind: 'command',
    identity,
    argv,
    columns: terminal?.columns,
    program,
    stdin: withInput,
  } as const;
  const signal = AbortSignal.any([session.gone, interrupt.signal]);
  const done = requests.stream(request, output, withInput ? { signal, stdin: input } : { signal });
  done.catch(() => {});
  return Promise.race([done, stopped]);
}
