import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import type { Identity } from '../../../src/domain/identity.ts';
import type { CommandRequest, Link, ToClient, ToControl } from '../../../src/ssh/protocol.ts';
import { INPUT_WINDOW, OUTPUT_WINDOW } from '../../../src/ssh/protocol.ts';
import { Requests } from '../../../src/ssh/requests.ts';
import { type Answer, type RequestHandler, respond } from '../../../src/ssh/responder.ts';

/** Both ends of a link in memory; messages arrive later, as they do over a pipe. */
function pair(): { client: Link<ToControl, ToClient>; control: Link<ToClient, ToControl>; cut(): void } {
  const toControl: ((message: ToControl) => void)[] = [];
  const toClient: ((message: ToClient) => void)[] = [];
  const closed: (() => void)[] = [];
  let open = true;
  const cut = () => {
    open = false;
    for (const listener of closed) listener();
  };
  function end<Out, In>(to: ((message: Out) => void)[], from: ((message: In) => void)[]): Link<Out, In> {
    return {
      send: (message) => {
        setImmediate(() => {
          if (open) for (const listener of to) listener(message);
        });
      },
      onMessage: (listener) => from.push(listener),
      onClose: (listener) => closed.push(listener),
      close: cut,
    };
  }
  return { client: end(toControl, toClient), control: end(toClient, toControl), cut };
}

const COMMAND: CommandRequest = {
  kind: 'command',
  identity: undefined,
  argv: [],
  columns: undefined,
  program: 'dinp',
  stdin: true,
};

function connect(command: (answer: Answer) => Promise<void>, errors: unknown[] = []) {
  const { client, control, cut } = pair();
  const unused = async () => {
    throw new Error('boom');
  };
  const handler: RequestHandler = {
    key: unused,
    open: async () => ({ ok: true, app: 'a', repository: '/r' }),
    judge: unused,
    settle: unused,
    command: (_request, answer) => command(answer),
  };
  respond(control, handler, (error) => errors.push(error));
  return { requests: new Requests(client), cut };
}

describe('Requests and respond', () => {
  it('answer, and an error of a handler is a refusal', async () => {
    const errors: unknown[] = [];
    const { requests } = connect(async () => {}, errors);
    const identity: Identity = { name: 'a', role: 'admin', fingerprint: undefined, apps: [] };
    const open = { kind: 'open', identity, service: 'git-upload-pack', name: 'a' } as const;
    assert.deepEqual(await requests.request(open), { ok: true, app: 'a', repository: '/r' });
    assert.deepEqual(await requests.request({ kind: 'key', fingerprint: 'x' }), { identity: undefined });
    assert.equal(errors.length, 1);
  });

  it('stream output in order, then the exit code', async () => {
    const { requests } = connect(async (answer) => {
      await answer.write(1, 'one ');
      await answer.write(2, 'two ');
      await answer.write(1, 'three');
      answer.exit(3);
    });
    const got: string[] = [];
    const write = async (fd: number, data: Uint8Array) => {
      await tick();
      got.push(`${fd}:${Buffer.from(data)}`);
    };
    assert.equal(await requests.stream(COMMAND, { write }), 3);
    assert.deepEqual(got, ['1:one ', '2:two ', '1:three']);
  });

  it('stop a handler whose output nobody takes, within a window', async () => {
    let written = 0;
    const { requests, cut } = connect(async (answer) => {
      for (let i = 0; i < 1000; i++) {
        await answer.write(1, Buffer.alloc(10_000));
        written += 10_000;
      }
    });
    const stalled = requests.stream(COMMAND, { write: () => new Promise(() => {}) });
    stalled.catch(() => {});
    for (let i = 0; i < 50; i++) await tick();
    assert.ok(written > 0 && written <= OUTPUT_WINDOW, `${written} bytes`);
    cut();
    await assert.rejects(stalled, /the server stopped/);
    for (let i = 0; i < 2000; i++) await tick();
    assert.equal(written, 10_000_000, 'a handler is not held up by a client that is gone');
  });

  it('carry input with back pressure', async () => {
    let taken = 0;
    let produced = 0;
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const { requests } = connect(async (answer) => {
      await go;
      for await (const chunk of answer.stdin) taken += chunk.length;
      answer.exit(0);
    });
    async function* stdin() {
      for (let i = 0; i < 40; i++) {
        produced += 50_000;
        yield Buffer.alloc(50_000);
      }
    }
    const done = requests.stream(COMMAND, { write: () => {} }, { stdin: stdin() });
    for (let i = 0; i < 50; i++) await tick();
    assert.ok(produced <= INPUT_WINDOW + 50_000, `${produced} bytes`);
    resolve();
    assert.equal(await done, 0);
    assert.equal(taken, 2_000_000);
  });

  it('tell a handler of a cancel, also one from before the start', async () => {
    for (const early of [true, false]) {
      const { requests } = connect(async (answer) => {
        if (!answer.signal.aborted) await new Promise((resolve) => answer.signal.addEventListener('abort', resolve));
        answer.exit(9);
      });
      const abort = new AbortController();
      if (early) abort.abort();
      const done = requests.stream(COMMAND, { write: () => {} }, { signal: abort.signal });
      abort.abort();
      assert.equal(await done, 9);
    }
  });

  it('print an error of a handler as an internal one, with status 1', async () => {
    const errors: unknown[] = [];
    const { requests } = connect(async () => {
      throw new Error('secret');
    }, errors);
    let text = '';
    const write = (_fd: number, data: Uint8Array) => {
      text += Buffer.from(data);
    };
    assert.equal(await requests.stream(COMMAND, { write }), 1);
    assert.match(text, /^internal error/);
    assert.equal(errors.length, 1);
  });
});
