import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import ssh2, { type Client } from 'ssh2';
import { Fixture, until } from './front-door-fixture.ts';

/** What ssh2's client keeps to itself, for doing what no honest client does. */
interface Raw {
  _protocol: {
    channelData(id: number, data: Buffer): void;
    channelClose(id: number): void;
    channelWindowAdjust(id: number, bytes: number): void;
    session(channel: number, window: number, packetSize: number): void;
    exec(channel: number, command: string, reply: boolean): void;
    rekey(): void;
    _queue: Buffer[] | undefined;
    _kexinit: Buffer | undefined;
    _kex: unknown;
  };
  _sock: { pause(): void; resume(): void };
}

const MiB = 1024 * 1024;

async function connect(door: Fixture): Promise<{ client: Client; raw: Raw; closed: Promise<unknown> }> {
  const client = new ssh2.Client();
  client.on('error', () => {});
  const privateKey = readFileSync(door.key);
  client.connect({ host: '127.0.0.1', port: door.door.port, username: 'dinp', privateKey });
  const closed = once(client, 'close');
  await once(client, 'ready');
  return { client, raw: client as unknown as Raw, closed };
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function open(): Promise<Fixture> {
  return Fixture.open(
    {
      command: async ({ argv }, answer) => {
        if (argv[0] === 'flood') while (!answer.signal.aborted) await answer.write(1, 'x'.repeat(30_000));
        if (argv[0] === 'wait') await new Promise((resolve) => answer.signal.addEventListener('abort', resolve));
        await answer.write(1, 'fine');
        answer.exit(0);
      },
    },
    { workers: 1 },
  );
}

/** The one worker is still the same, and serves. */
async function stillServes(door: Fixture, worker: number): Promise<void> {
  assert.deepEqual(door.door.workers(), [worker]);
  assert.deepEqual(await door.ssh(['x']), { code: 0, stdout: 'fine', stderr: '' });
  assert.ok(residentMiB(worker) < 200, `${residentMiB(worker)} MiB`);
}

describe('a hostile client that is logged in', { concurrency: 2 }, () => {
  it('asks for packets of no bytes', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { raw, closed } = await connect(door);
    raw._protocol.session(0, 100, 0);
    await closed;
    await stillServes(door, worker);
  });

  it('ignores our window', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { client, raw, closed } = await connect(door);
    client.exec("git-receive-pack 'app'", () => {});
    await until(() => door.opened.length === 1, 'receive-pack starts');
    let ended = false;
    closed.then(
      () => (ended = true),
      () => {},
    );
    for (let i = 0; i < 200 && !ended; i++) {
      for (let j = 0; j < 32; j++) raw._protocol.channelData(0, Buffer.alloc(32 * 1024));
      await new Promise((resolve) => setImmediate(resolve));
    }
    // receive-pack gives up at the first garbage, so the bytes are taken and dropped: cut off, or no memory used.
    await stillServes(door, worker);
    client.end();
  });

  it('opens its window wide and reads nothing', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { client, raw } = await connect(door);
    raw._protocol.session(0, 0xffff_ffff, 32 * 1024);
    raw._protocol.exec(0, 'flood', false);
    await until(() => door.commands.length === 1, 'the flood begins');
    raw._sock.pause();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await stillServes(door, worker);
    client.destroy();
  });

  it('starts a key exchange, goes silent, and lets output and questions pile up', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { client, raw } = await connect(door);
    raw._protocol.session(0, 0xffff_ffff, 32 * 1024);
    raw._protocol.exec(0, 'flood', false);
    await until(() => door.commands.length === 1, 'the flood begins');
    // The real client would answer our KEXINIT; this one is stopped from reading it.
    raw._sock.pause();
    raw._protocol.rekey();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await stillServes(door, worker);
    client.destroy();
  });

  it('renews keys without end', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { client, raw, closed } = await connect(door);
    let rekeys = 0;
    client.on('handshake', () => {
      rekeys++;
      setImmediate(() => raw._protocol.rekey());
    });
    raw._protocol.rekey();
    await closed;
    assert.ok(rekeys <= 12, `${rekeys} key exchanges`);
    assert.ok(door.log.some((line) => line.includes('too many key exchanges')));
    await stillServes(door, worker);
  });

  it('opens more sessions than it may, thousands in a row, and closes sessions that never began', async () => {
    await using door = await open();
    const worker = door.door.workers()[0]!;
    const { client } = await connect(door);
    const opened = Array.from(
      { length: 6 },
      () => new Promise<boolean>((resolve) => client.exec('wait', (error) => resolve(error === undefined))),
    );
    assert.deepEqual((await Promise.all(opened)).filter(Boolean).length, 4);
    client.destroy();
    const second = await connect(door);
    for (let i = 0; i < 2000; i++) {
      second.raw._protocol.session(i + 1, MiB, 32 * 1024);
      second.raw._protocol.channelClose(i);
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await stillServes(door, worker);
    second.client.destroy();
  });
});

it('takes over the parts of ssh2 that this version has', () => {
  const require = createRequire(import.meta.url);
  const { version } = require('ssh2/package.json') as { version: string };
  assert.match(version, /^1\.17\./, 'read src/ssh/ssh2-internals.ts again, then change this line');
});
