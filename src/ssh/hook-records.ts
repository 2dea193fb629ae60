import type { RefCommand } from './protocol.ts';

/**
 * What git's hooks tell the session over file descriptor 3 (see hooks/): the hook's name, lines of facts, and an empty
 * line. `update` sends the one ref it is asked about, `proc-receive` nothing but its name.
 */
export interface HookRecord {
  hook: 'pre-receive' | 'update' | 'post-receive' | 'proc-receive';
  commands: RefCommand[];
  options: string[];
  /** Where the pushed objects wait until pre-receive agrees (GIT_QUARANTINE_PATH). */
  quarantine: string | undefined;
}

const HOOKS: ReadonlySet<string> = new Set(['pre-receive', 'update', 'post-receive', 'proc-receive']);
const REF = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (.+)$/;
/** A push of ten thousand refs with names of a kilobyte still fits. */
const MAX_PENDING = 16 * 1024 * 1024;

/** Puts records together from whatever pieces the pipe gives. Ref names are bytes to git: they are read as UTF-8. */
export class HookRecordParser {
  #rest: Buffer = Buffer.alloc(0);
  #record: HookRecord | undefined;
  #size = 0;

  /**
   * Takes the next bytes of the pipe, gives the records that they complete.
   * @throws Error on a line that no hook of ours writes, and on a record over 16 MiB
   */
  push(chunk: Uint8Array): HookRecord[] {
    const data = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    this.#size += chunk.length;
    const done: HookRecord[] = [];
    let start = 0;
    for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10, start)) {
      const record = this.#line(data.toString('utf8', start, end));
      start = end + 1;
      if (record === undefined) continue;
      done.push(record);
      this.#size = data.length - start;
    }
    this.#rest = data.subarray(start);
    if (this.#size > MAX_PENDING) throw new Error('a hook wrote a record over 16 MiB');
    return done;
  }

  #line(line: string): HookRecord | undefined {
    const record = this.#record;
    if (record === undefined) {
      if (!HOOKS.has(line)) throw new Error(`a hook wrote an unknown record: ${JSON.stringify(line.slice(0, 100))}`);
      this.#record = { hook: line as HookRecord['hook'], commands: [], options: [], quarantine: undefined };
      return undefined;
    }
    if (line === '') {
      this.#record = undefined;
      return record;
    }
    const space = line.indexOf(' ');
    const value = line.slice(space + 1);
    const kind = line.slice(0, space);
    if (kind === 'ref') record.commands.push(parseRef(value));
    else if (kind === 'option') record.options.push(value);
    else if (kind === 'quarantine') record.quarantine = value;
    else throw new Error(`a hook wrote an unknown line: ${JSON.stringify(line.slice(0, 100))}`);
    return undefined;
  }
}

function parseRef(line: string): RefCommand {
  const match = REF.exec(line);
  if (match === null) throw new Error(`a hook wrote no ref command: ${JSON.stringify(line.slice(0, 100))}`);
  return { old: match[1]!, new: match[2]!, ref: match[3]! };
}

/**
 * What the proc-receive hook sends to git, one pkt-line a line so that sh can read it, `0000` last
 * (githooks(5), proc-receive; the answer to the version comes from the hook itself).
 */
export function procReceiveReport(verdicts: { ref: string; refusal: string | undefined }[]): string {
  const lines = verdicts.map(({ ref, refusal }) => {
    const text = refusal === undefined ? `ok ${ref}` : `ng ${ref} ${oneLine(refusal)}`;
    return `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, '0')}${text}\n`;
  });
  return `${lines.join('')}0000\n`;
}

/** A reason git can print: one line, within what a pkt-line holds beside the longest ref name. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 1000) || 'refused';
}
