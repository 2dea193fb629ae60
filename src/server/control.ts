import type { CommandContext } from '../commands/context.ts';
import { reportError } from '../commands/errors.ts';
import { runCommand } from '../commands/registry.ts';
import { withProgram } from '../commands/text.ts';
import type { Pushes, PushRepositories } from '../deploy/pushes.ts';
import { DinpError } from '../domain/errors.ts';
import { type Identity, mayUse } from '../domain/identity.ts';
import type {
  CommandRequest,
  JudgeReply,
  JudgeRequest,
  KeyReply,
  KeyRequest,
  OpenReply,
  OpenRequest,
  SettleRequest,
} from '../ssh/protocol.ts';
import type { Answer, RequestHandler } from '../ssh/responder.ts';
import type { Store } from '../store/store.ts';
import type { ServerLog } from './log.ts';

export interface ControlParts {
  store: Store;
  pushes: Pushes;
  repositories: PushRepositories;
  /** Everything of a command's context but what belongs to the one call. */
  commands: Omit<CommandContext, 'identity' | 'program' | 'out'>;
  log: ServerLog;
  /** How pushers call our commands: `ssh -p 2222 dinp@host`. */
  pusherProgram: string;
}

/** What the owner of the local socket is: whoever may open it owns the data. */
const OPERATOR: Identity = { name: 'operator', role: 'admin', fingerprint: undefined, apps: [] };

/** Answers what SSH workers and the local `dinp` command ask of the control process. */
export class Control implements RequestHandler {
  readonly #parts: ControlParts;

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  async key(request: KeyRequest): Promise<KeyReply> {
    return { identity: this.#findIdentity(request.fingerprint) };
  }

  #findIdentity(fingerprint: string): Identity | undefined {
    const key = this.#parts.store.keys.findByFingerprint(fingerprint);
    return key && { name: key.name, role: key.role, fingerprint: key.fingerprint, apps: key.apps };
  }

  /**
   * Who speaks, by the keys as they are now: a connection may outlive its key, or what the key may do.
   * @throws DinpError denied where the key was removed
   */
  #current(identity: Identity): Identity {
    if (identity.fingerprint === undefined) return identity;
    const found = this.#findIdentity(identity.fingerprint);
    if (found) return found;
    throw new DinpError('denied', `the key of ${identity.name} was removed.`);
  }

  async open(request: OpenRequest): Promise<OpenReply> {
    try {
      const app = await this.#parts.pushes.open(
        this.#current(request.identity),
        request.name,
        request.service === 'git-receive-pack',
      );
      return { ok: true, app: app.name, repository: this.#parts.repositories.path(app.name) };
    } catch (error) {
      return { ok: false, text: reportError(error, this.#parts.pusherProgram, this.#parts.log).text };
    }
  }

  async judge(request: JudgeRequest): Promise<JudgeReply> {
    if (!this.#mayStill(request.identity, request.app)) {
      return { ok: false, text: `This key may no longer use ${request.app}.`, reason: 'key removed' };
    }
    const single = request.hook === 'pre-receive' ? undefined : request.commands[0];
    const verdict = await this.#parts.pushes.judge(request.app, request.asked, request.options, single);
    return { ...verdict, text: withProgram(verdict.text, this.#parts.pusherProgram) };
  }

  #mayStill(identity: Identity, app: string): boolean {
    if (identity.fingerprint === undefined) return true;
    const found = this.#findIdentity(identity.fingerprint);
    return found !== undefined && mayUse(found, app);
  }

  async settle(request: SettleRequest, answer: Answer): Promise<void> {
    const { log, pusherProgram } = this.#parts;
    const { applied } = request.outcome;
    log.info(
      { app: request.app, by: request.identity.name, refs: applied.map((command) => command.ref) },
      'push received',
    );
    const watcher = {
      write: (text: string | Uint8Array) =>
        answer.write(2, typeof text === 'string' ? withProgram(text, pusherProgram) : text),
      signal: answer.signal,
    };
    try {
      answer.exit(await this.#parts.pushes.settle(request.app, request.identity, request.outcome, watcher));
    } catch (error) {
      const { text, status } = reportError(error, pusherProgram, log);
      await answer.write(2, text);
      answer.exit(status);
    }
  }

  async command(request: CommandRequest, answer: Answer): Promise<void> {
    if (request.identity !== undefined && this.#findIdentity(request.identity.fingerprint ?? '') === undefined) {
      await answer.write(2, `error: the key of ${request.identity.name} was removed.\n`);
      answer.exit(1);
      return;
    }
    const identity = request.identity === undefined ? OPERATOR : this.#current(request.identity);
    this.#parts.log.info({ by: identity.name, command: request.argv.slice(0, 2).join(' ') }, 'command received');
    const status = await runCommand(request.argv, {
      ...this.#parts.commands,
      identity,
      program: request.program,
      out: {
        stdout: (data) => answer.write(1, data),
        stderr: (data) => answer.write(2, data),
        stdin: request.stdin ? answer.stdin : undefined,
        columns: request.columns,
        signal: answer.signal,
      },
    });
    answer.exit(status);
  }
}
