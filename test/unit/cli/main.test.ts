import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runCommand } from '../../../src/commands/registry.ts';
import { socketLink } from '../../../src/ssh/link.ts';
import type { CommandRequest } from '../../../src/ssh/protocol.ts';
import { type Answer, respond } from '../../../src/ssh/responder.ts';
import { Terminal } from '../commands/terminal.ts';

const MAIN = join(import.meta.dirname, '../../../src/cli/main.ts');

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The program in a folder of its own, whose config names a data folder where a server may listen. */
class Shell {
  readonly folder = mkdtempSync(join(tmpdir(), 'dinp-cli-'));
  readonly requests: CommandRequest[] = [];

  constructor(t: TestContext) {
    writeFileSync(join(this.folder, 'dinp.yml'), `data: ${this.folder}\n`);
    t.after(() => rmSync(this.folder, { recursive: true }));
  }

  /** Answers commands on the socket as the server does. */
  async listen(t: TestContext, terminal: Terminal, handle?: (answer: Answer) => Promise<void>): Promise<void> {
    const server = createServer((socket) => {
      respond(
        socketLink(socket),
        {
          command: async (request, answer) => {
            this.requests.push(request);
            await (handle ? handle(answer) : answer.exit(await this.#run(terminal, request, answer)));
          },
          ...unused,
        },
        (error) => assert.fail(String(error)),
      );
    });
    server.listen(join(this.folder, 'dinp.sock'));
    await once(server, 'listening');
    t.after(() => server.close());
  }

  #run(terminal: Terminal, request: CommandRequest, answer: Answer): Promise<number> {
    return runCommand(request.argv, {
      ...terminal.context({ program: request.program }),
      out: {
        stdout: (data) => answer.write(1, data),
        stderr: (data) => answer.write(2, data),
        stdin: request.stdin ? answer.stdin : undefined,
        columns: request.columns,
        signal: answer.signal,
      },
    });
  }

  start(...argv: string[]): ChildProcess & { ended: Promise<Ended> } {
    const env = { PATH: process.env.PATH, DINP_CONFIG: join(this.folder, 'dinp.yml') };
    const child = spawn(process.execPath, [MAIN, ...argv], { cwd: this.folder, env });
    const ended = { status: null, stdout: '', stderr: '' } as Ended;
    child.stdout.on('data', (chunk) => {
      ended.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      ended.stderr += chunk;
    });
    return Object.assign(child, {
      ended: once(child, 'close').then(([status]) => ({ ...ended, status: status as number | null })),
    });
  }

  async type(line: string, stdin = ''): Promise<Ended> {
    const child = this.start(...line.split(' '));
    child.stdin!.on('error', () => {});
    child.stdin!.end(stdin);
    return await child.ended;
  }
}

const notAsked = () => Promise.reject(new Error('not asked for here'));
const unused = { key: notAsked, open: notAsked, judge: notAsked, settle: notAsked };

test('a command goes to the server and its output, status and input come back', async (t) => {
  const shell = new Shell(t);
  const terminal = new Terminal(t);
  await shell.listen(t, terminal);
  const app = terminal.deployed('blog');
  assert.deepEqual(await shell.type('volumes blog'), {
    status: 0,
    stdout: 'blog has no volumes. They are named in its dinp.yml.\n',
    stderr: '',
  });
  assert.deepEqual(await shell.type('config set blog A', 'from a pipe\n'), {
    status: 0,
    stdout: 'Changed A; released as v2.\n',
    stderr: '',
  });
  assert.equal(terminal.store.config.get(app.id).A, 'from a pipe');
  terminal.target.onRun = async ({ stdin, onStdout }) => {
    for await (const chunk of stdin!) await onStdout(chunk);
    return 7;
  };
  const big = 'x'.repeat(700_000);
  const run = await shell.type('run blog cat', big);
  assert.deepEqual([run.status, run.stdout === big, run.stderr], [7, true, '']);
});

test('files are read on this side', async (t) => {
  const shell = new Shell(t);
  const terminal = new Terminal(t);
  await shell.listen(t, terminal);
  const app = terminal.deployed('blog');
  writeFileSync(join(shell.folder, 'settings.env'), 'A=1\nB=2\n');
  assert.equal((await shell.type('config set blog --file settings.env')).status, 0);
  assert.deepEqual(terminal.store.config.get(app.id), { A: '1', B: '2' });
  const missing = await shell.type('config set blog --file nothing.env');
  assert.deepEqual([missing.status, missing.stdout], [2, '']);
  assert.match(missing.stderr, /^error: the file nothing\.env cannot be read: ENOENT/);
});

test('a command that reads nothing leaves standard input to the shell loop around it', async (t) => {
  const shell = new Shell(t);
  const terminal = new Terminal(t);
  await shell.listen(t, terminal);
  terminal.deployed('blog');
  terminal.deployed('shop');
  const script = `while read app; do "${process.execPath}" "${MAIN}" restart $app; done`;
  const child = spawn('sh', ['-c', script], {
    env: { PATH: process.env.PATH, DINP_CONFIG: join(shell.folder, 'dinp.yml') },
  });
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stdin.end('blog\nshop\n');
  await once(child, 'close');
  assert.equal(stdout, 'Restarted blog.\nRestarted shop.\n');
  assert.deepEqual(
    shell.requests.map((request) => [request.argv, request.stdin, request.columns, request.program]),
    [
      [['restart', 'blog'], false, undefined, 'dinp'],
      [['restart', 'shop'], false, undefined, 'dinp'],
    ],
  );
});

test('Ctrl-C ends the command in the server and gives 130', async (t) => {
  const shell = new Shell(t);
  let canceled = false;
  await shell.listen(t, new Terminal(t), async (answer) => {
    await answer.write(1, 'following\n');
    await once(answer.signal, 'abort');
    canceled = true;
  });
  const child = shell.start('logs', 'blog', '-f');
  await once(child.stdout!, 'data');
  child.kill('SIGINT');
  assert.deepEqual(await child.ended, { status: 130, stdout: 'following\n', stderr: '' });
  assert.equal(canceled, true);
});

test('a reader that has enough (head) ends the command quietly', async (t) => {
  const shell = new Shell(t);
  const gone = Promise.withResolvers<void>();
  await shell.listen(t, new Terminal(t), async (answer) => {
    answer.signal.addEventListener('abort', () => gone.resolve());
    while (!answer.signal.aborted) await answer.write(1, `${'line\n'.repeat(1000)}`);
  });
  const child = shell.start('logs', 'blog', '-f');
  await once(child.stdout!, 'data');
  child.stdout!.destroy();
  const { status, stderr } = await child.ended;
  assert.deepEqual([status, stderr], [141, '']);
  await gone.promise;
});

test('a server that dies in the middle is an error', async (t) => {
  const shell = new Shell(t);
  const server = createServer((socket) => socket.once('data', () => socket.destroy()));
  server.listen(join(shell.folder, 'dinp.sock'));
  await once(server, 'listening');
  t.after(() => server.close());
  assert.deepEqual(await shell.type('apps list'), {
    status: 1,
    stdout: '',
    stderr: 'error: the server stopped while it was answering.\n',
  });
});

test('without a server help works, mistakes are told, and the rest says how to start one', async (t) => {
  const shell = new Shell(t);
  const help = await shell.type('--help');
  assert.deepEqual([help.status, help.stderr], [0, '']);
  assert.match(help.stdout, /^Usage: dinp COMMAND …\n/);
  assert.match(help.stdout, /\n {2}serve {2,}run the server in the foreground\n/);
  assert.match(help.stdout, /\n {2}--host <host> /);
  assert.equal((await shell.type('help')).stdout, help.stdout);
  assert.match((await shell.type('serve --help')).stdout, /--set <key=value>/);
  assert.match((await shell.type('--version')).stdout, /^dinp \d+\.\d+\.\d+\n$/);
  assert.deepEqual(await shell.type('app list'), {
    status: 2,
    stdout: '',
    stderr: 'error: there is no command "app".\nhint:  Did you mean:  dinp apps list\n',
  });
  assert.deepEqual(await shell.type('apps list'), {
    status: 1,
    stdout: '',
    stderr: `error: no server runs here: nobody listens on ${shell.folder}/dinp.sock.
hint:  Start it:  systemctl start dinp  or  dinp serve --config ${shell.folder}/dinp.yml
       For a server elsewhere:  dinp --host dinp@HOST:2222 …
`,
  });
});
