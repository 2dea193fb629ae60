/** What the beginning of a push says: nothing to do (up to date, dry run), commands, or commands of a shallow clone. */
export type PreludeKind = 'unknown' | 'nothing' | 'commands' | 'shallow';

const FLUSH = '0000';
const SHALLOW = 'shallow ';
const NEEDED = FLUSH.length + SHALLOW.length;

/**
 * Looks at the first pkt-line that a client sends to receive-pack (gitprotocol-pack(5)): hooks do not run when git
 * itself refuses every command, and that must not be taken for a push that asked for nothing.
 */
export class PushPrelude {
  kind: PreludeKind = 'unknown';
  #start = '';

  /** Takes the next bytes from the client. */
  push(chunk: Buffer): void {
    if (this.#start.length >= NEEDED || this.kind !== 'unknown') return;
    this.#start += chunk.toString('latin1', 0, NEEDED);
    if (this.#start.length < FLUSH.length) return;
    if (this.#start.startsWith(FLUSH)) this.kind = 'nothing';
    else if (this.#start.length >= NEEDED) {
      this.kind = this.#start.startsWith(SHALLOW, FLUSH.length) ? 'shallow' : 'commands';
    }
  }
}
