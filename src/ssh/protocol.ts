import type { Identity } from '../domain/identity.ts';
import type { PushOutcome, RefCommand } from '../domain/ref-command.ts';

export type { PushOutcome, RefCommand };

/**
 * What the processes that face clients (SSH workers, the `dinp` command) and the control process say to each other.
 * A client sends a Request under an id of its choosing and gets either one Reply, or any number of Output messages
 * and then an Exit. Flow control is by acknowledgement: a sender never has more than OUTPUT_WINDOW bytes of
 * unacknowledged output under way, so a stalled reader costs no memory and holds up nobody else.
 */
export const OUTPUT_WINDOW = 256 * 1024;

/** `key`: whom does this public key stand for? Replied with KeyReply. */
export interface KeyRequest {
  kind: 'key';
  fingerprint: string;
}
export interface KeyReply {
  identity: Identity | undefined;
}

/** `open`: may this identity use git on this app? Creates the app where first pushes may. Replied with OpenReply. */
export interface OpenRequest {
  kind: 'open';
  identity: Identity;
  service: 'git-receive-pack' | 'git-upload-pack';
  /** As the client wrote it, quotes, slashes and `.git` already taken off. */
  name: string;
}
export type OpenReply =
  | { ok: true; app: string; repository: string }
  /** Printed on stderr before exit status 1. */
  | { ok: false; text: string };

/** `judge`: what pre-receive, update and proc-receive ask. Replied with JudgeReply. */
export interface JudgeRequest {
  kind: 'judge';
  app: string;
  hook: 'pre-receive' | 'update' | 'proc-receive';
  /** All of the push's for pre-receive, one for update. */
  commands: RefCommand[];
  /** Everything that pre-receive saw of this push, so that one ref can be judged among the others. */
  asked: RefCommand[];
  options: string[];
  /**
   * Where the pushed objects wait until pre-receive has agreed: git sees them with this as GIT_OBJECT_DIRECTORY and the
   * repository's own `objects` in GIT_ALTERNATE_OBJECT_DIRECTORIES. undefined once they are part of the repository.
   */
  quarantine: string | undefined;
  identity: Identity;
}
export interface JudgeReply {
  ok: boolean;
  /** For the pusher's terminal, several lines; empty where there is nothing to say. */
  text: string;
  /** A few words git prints behind `remote rejected`, for proc-receive. */
  reason: string;
}

/** `settle`: the push is over for git; deploys what it brought. Answered with Output and Exit. */
export interface SettleRequest {
  kind: 'settle';
  app: string;
  identity: Identity;
  outcome: PushOutcome;
}

/** `command`: a command line of the `dinp` program or of `ssh dinp@host …`. Answered with Output and Exit. */
export interface CommandRequest {
  kind: 'command';
  /** undefined over the local socket, whose owner is the operator. */
  identity: Identity | undefined;
  argv: string[];
  /** Width of the terminal, undefined when output is no terminal. */
  columns: number | undefined;
  /** How to call ourselves in hints: `dinp` or `ssh dinp@host`. */
  program: string;
  /** Whether the client will send Input messages (a pipe or a terminal on its stdin). */
  stdin: boolean;
}

export type Request = KeyRequest | OpenRequest | JudgeRequest | SettleRequest | CommandRequest;

export type ToControl =
  | { type: 'request'; id: number; request: Request }
  /** The client is gone or pressed Ctrl-C; the request's output is no longer wanted. */
  | { type: 'cancel'; id: number }
  | { type: 'ack'; id: number; bytes: number }
  /** Standard input of a command; undefined data ends it. */
  | { type: 'input'; id: number; data: Uint8Array | undefined };

export type ToClient =
  | { type: 'reply'; id: number; value: KeyReply | OpenReply | JudgeReply }
  | { type: 'output'; id: number; fd: 1 | 2; data: Uint8Array }
  /** Control took `bytes` of input; the client may send as many more (INPUT_WINDOW). */
  | { type: 'input-ack'; id: number; bytes: number }
  | { type: 'exit'; id: number; code: number };

/** Bytes of unacknowledged input that a client may have under way. */
export const INPUT_WINDOW = 256 * 1024;

/** A two-way channel of messages: a forked worker's IPC or a framed socket. */
export interface Link<Out, In> {
  send(message: Out): void;
  onMessage(listener: (message: In) => void): void;
  onClose(listener: () => void): void;
  close(): void;
}
