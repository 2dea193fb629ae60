import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instance, process, Terminal } from './terminal.ts';

const WEB = 'dinp-blog--web--v1--1';
const WORKER = 'dinp-blog--worker--v1--1';

function running(terminal: Terminal): void {
  terminal.deployed('blog', [process('web'), process('worker')]);
  terminal.operations.rows = [instance('web', 1), instance('worker', 1), instance('web', 2, { real: undefined })];
  terminal.target.lines.push(
    { instance: WEB, time: 1_700_000_000_000, text: 'GET / 200' },
    { instance: WEB, time: 1_700_000_002_000, text: '\u001b[31mGET /\tx 500\u001b[0m\u0007' },
    { instance: WORKER, time: 1_700_000_001_000, text: 'job 1' },
  );
}

test('logs of all instances, in the order of time, safe for the terminal', async (t) => {
  const terminal = new Terminal(t);
  running(terminal);
  assert.deepEqual(await terminal.type('logs blog'), {
    status: 0,
    stdout: `2023-11-14T22:13:20.000Z web.1  GET / 200
2023-11-14T22:13:21.000Z worker.1  job 1
2023-11-14T22:13:22.000Z web.1  GET /\tx 500?
`,
    stderr: '',
  });
  assert.deepEqual(terminal.target.calls, [['logs', [WEB, WORKER], 100, false]]);
});

test('logs of one process, the last line, as JSON', async (t) => {
  const terminal = new Terminal(t);
  running(terminal);
  const { stdout } = await terminal.type('logs blog -p worker -n 1 --json');
  assert.deepEqual(JSON.parse(stdout), {
    time: '2023-11-14T22:13:21.000Z',
    process: 'worker',
    index: 1,
    release: 1,
    instance: WORKER,
    text: 'job 1',
  });
  assert.equal(
    (await terminal.type('logs blog -p wrker')).stderr,
    'error: blog has no process "wrker".\nhint:  Did you mean worker?\n',
  );
  assert.equal(
    (await terminal.type('logs blog -n 0')).stderr,
    "error: option '-n <count>' argument '0' is invalid. It must be a number from 1 to 100000.\nhint:  Usage:  dinp logs <app>\n       dinp logs --help says more.\n",
  );
});

test('logs -f goes on to instances that come up later, until Ctrl-C', async (t) => {
  const terminal = new Terminal(t);
  running(terminal);
  const enough = new AbortController();
  const next = 'dinp-blog--web--v2--1';
  const following = terminal.type('logs blog -f -p web -n 1', {
    signal: enough.signal,
    onOutput: (text) => {
      if (text.includes('v2 is up')) enough.abort();
      else {
        terminal.operations.rows = [instance('web', 1, { name: next, release: 2 })];
        terminal.target.lines.push({ instance: next, time: undefined, text: 'v2 is up' });
      }
    },
  });
  const { stdout } = await following;
  assert.equal(stdout, '2023-11-14T22:13:22.000Z web.1  GET /\tx 500?\nweb.1  v2 is up\n');
});

test('nothing running is said on standard error', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(await terminal.type('logs blog'), {
    status: 0,
    stdout: '',
    stderr: 'Nothing of blog runs. See:\n  dinp ps blog\n',
  });
});
