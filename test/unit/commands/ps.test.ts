import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Health } from '../../../src/deploy/watch/health-rules.ts';
import { deployer, instance, process, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const failed = (status: number, stderr: string) => ({ status, stdout: '', stderr });

test('ps shows what should run beside what does', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const crashed = instance('worker', 1);
  const stray = instance('old', 1, { desired: false });
  terminal.operations.rows = [
    instance('web', 1),
    instance('web', 2, { real: { ...instance('web', 2).real!, healthy: false, restarts: 12 } }),
    { ...crashed, real: { ...crashed.real!, state: 'exited', exitCode: 137 } },
    instance('worker', 2, { real: undefined }),
    stray,
  ];
  assert.deepEqual(
    await terminal.type('ps blog'),
    ok(`INSTANCE  RELEASE  STATE                           UP  RESTARTS   PORT  NAME
web.1          v1  running                  2 min 5 s         0  22001  dinp-blog--web--v1--1
web.2          v1  running, unhealthy       2 min 5 s        12  22002  dinp-blog--web--v1--2
worker.1       v1  exited (137)                     -         0      -  dinp-blog--worker--v1--1
worker.2       v1  missing                          -         -      -  dinp-blog--worker--v1--2
old.1          v1  running, should not run  2 min 5 s         0      -  dinp-blog--old--v1--1
`),
  );
});

test('ps says of an instance that fails since when, why, and what is done about it', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  const now = Date.now();
  const well: Health = {
    ...{ startedAt: now, graceUntil: now, proven: true, failures: 0, problem: undefined, failingSince: undefined },
    ...{ healthySince: now, restarts: 0, nextTry: undefined, crashes: [] },
  };
  const failing = {
    ...well,
    ...{ problem: 'answered 500 to GET /health', failingSince: now - 125_000, healthySince: undefined },
    ...{ restarts: 2, nextTry: now + 3_600_000 },
  };
  const loop = instance('worker', 1);
  terminal.operations.rows = [
    instance('web', 1, { health: well, routed: true }),
    instance('web', 2, { health: failing, routed: false, real: { ...instance('web', 2).real!, restarts: 1 } }),
    {
      ...loop,
      health: { ...failing, problem: 'exited with status 3', restarts: 0, nextTry: undefined },
      real: { ...loop.real!, state: 'restarting', exitCode: 3, restarts: 7 },
    },
  ];
  const { stdout } = await terminal.type('ps blog');
  assert.match(stdout, /^web\.1 +v1 +running +2 min 5 s +0 /m);
  assert.match(stdout, /^web\.2 +v1 +running, failing +2 min 5 s +3 /m);
  assert.match(stdout, /^worker\.1 +v1 +restarting \(3\) +- +7 /m);
  assert.match(
    stdout,
    /\n\nweb\.2 has been failing for 2 min \d+ s: it answered 500 to GET \/health; restarted 2 times; next restart in (?:1 h 0 min|59 min \d+ s); visitors are led past it\.\n/,
  );
  assert.match(stdout, /^worker\.1 .*: it exited with status 3; its engine starts it again with growing pauses\.$/m);
  assert.partialDeepStrictEqual(JSON.parse((await terminal.type('ps blog --json')).stdout), [
    { health: { state: 'healthy', problem: null, restarts: 0, nextTry: null }, routed: true },
    {
      health: {
        state: 'failing',
        since: new Date(now - 125_000).toISOString(),
        problem: 'answered 500 to GET /health',
        restarts: 2,
        nextTry: new Date(now + 3_600_000).toISOString(),
      },
      routed: false,
    },
    { state: 'restarting', exitCode: 3, restarts: 7, routed: null },
  ]);
});

test('ps without an app shows all that one may see, and what is not known', async (t) => {
  const terminal = new Terminal(t);
  assert.deepEqual(await terminal.type('ps'), ok('There are no apps yet.\n'));
  terminal.deployed('blog');
  const shop = terminal.deployed('shop');
  terminal.deployed('wiki');
  terminal.store.apps.setStopped(shop.id, true);
  terminal.store.apps.create('empty');
  terminal.operations.rows = [instance('web', 1)];
  terminal.operations.problems.set('wiki', 'The Docker Engine does not answer.');
  assert.deepEqual(
    await terminal.type('ps'),
    ok(`APP    INSTANCE  RELEASE  STATE                  UP  RESTARTS   PORT  NAME
blog   web.1          v1  running         2 min 5 s         0  22001  dinp-blog--web--v1--1
empty  -               -  no release yet          -         -      -  -
shop   -               -  stopped                 -         -      -  -
wiki   -               -  unknown                 -         -      -  -

wiki: The Docker Engine does not answer.
`),
  );
  assert.doesNotMatch((await terminal.type('ps', { as: deployer('bob', 'shop') })).stdout, /blog|wiki/);
  assert.partialDeepStrictEqual(JSON.parse((await terminal.type('ps --json')).stdout), [
    { app: 'blog', release: 1, stopped: false, problem: null, instances: [{ name: 'dinp-blog--web--v1--1' }] },
    { app: 'empty', release: null, instances: [] },
    { app: 'shop', stopped: true },
    { app: 'wiki', problem: 'The Docker Engine does not answer.' },
  ]);
});

test('ps says why nothing runs', async (t) => {
  const terminal = new Terminal(t);
  const app = terminal.deployed('blog');
  assert.deepEqual(
    await terminal.type('ps blog'),
    ok('Nothing of blog should run: all its processes are scaled to 0.\n  dinp scale blog web=1\n'),
  );
  terminal.store.apps.setStopped(app.id, true);
  assert.deepEqual(await terminal.type('ps blog'), ok('blog is stopped. Start it:\n  dinp start blog\n'));
  terminal.target.runs = false;
  assert.match((await terminal.type('ps blog')).stdout, /its unit files are written, something else runs them/);
});

test('scale', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog', [process('web'), process('worker', { instances: 2 })]);
  assert.deepEqual(
    await terminal.type('scale blog web=3'),
    ok('PROCESS  INSTANCES\nweb              3\nworker           2\n'),
  );
  assert.deepEqual(
    await terminal.type('scale blog web=3 worker=2'),
    ok('PROCESS  INSTANCES\nweb              3\nworker           2\n'),
  );
  assert.deepEqual(terminal.operations.calls, [['scale', 'blog', { web: 3 }]]);
  assert.deepEqual(JSON.parse((await terminal.type('scale blog --json')).stdout), [
    { process: 'web', instances: 3 },
    { process: 'worker', instances: 2 },
  ]);
  const errors: Record<string, string> = {
    'scale blog web': 'error: "web" is not PROCESS=COUNT.\nhint:  For example:  dinp scale blog web=2\n',
    'scale blog web=-1': 'error: "web=-1" is not PROCESS=COUNT.\nhint:  For example:  dinp scale blog web=2\n',
    'scale blog web=1000': 'error: 1000 instances are too many; at most 100 of a process run.\n',
    'scale blog web=1 web=2': 'error: web is given twice.\n',
  };
  for (const [line, text] of Object.entries(errors)) assert.deepEqual(await terminal.type(line), failed(2, text));
  assert.deepEqual(
    await terminal.type('scale blog wroker=1'),
    failed(1, 'error: blog has no process "wroker".\nhint:  Did you mean worker?\n'),
  );
});

test('stop, start and restart say where they left the app', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.deepEqual(await terminal.type('start blog'), ok('blog is not stopped.\n'));
  assert.deepEqual(await terminal.type('restart blog'), ok('Restarted blog.\n'));
  assert.deepEqual(await terminal.type('stop blog'), ok('Stopped blog. Start it again:\n  dinp start blog\n'));
  assert.deepEqual(await terminal.type('stop blog'), ok('blog is stopped already.\n'));
  assert.deepEqual(
    await terminal.type('restart blog'),
    failed(1, 'error: blog is stopped.\nhint:  Start it:  dinp start blog\n'),
  );
  assert.deepEqual(await terminal.type('start blog'), ok('Started blog: http://blog.localhost.\n'));
  assert.deepEqual(terminal.operations.calls, [
    ['restart', 'blog'],
    ['stop', 'blog'],
    ['start', 'blog'],
  ]);
});
