import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deployer, Terminal } from './terminal.ts';

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });

test('reconcile says what it found and did, and fails where something could not be set right', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  terminal.deployed('shop');
  terminal.reconciled.looked = 2;
  assert.deepEqual(await terminal.type('reconcile'), ok('All is as it should be: 2 apps.\n'));
  terminal.reconciled = {
    apps: [
      {
        app: 'blog',
        differences: [
          { kind: 'start', text: 'start web.2 of v3: it is not there' },
          { kind: 'route', text: 'set its route in http://127.0.0.1:2019' },
        ],
        failed: [],
        skipped: false,
      },
    ],
    strays: [{ instance: 'dinp-old--web--v1--1', target: 'docker', stopped: true }],
    problems: [],
    looked: 2,
  };
  assert.deepEqual(
    await terminal.type('reconcile'),
    ok(`blog: start web.2 of v3: it is not there
blog: set its route in http://127.0.0.1:2019
dinp-old--web--v1--1 on docker belongs to no app: stopped
`),
  );
  terminal.reconciled.strays[0]!.stopped = false;
  assert.deepEqual(
    await terminal.type('reconcile --dry-run'),
    ok(`blog: would start web.2 of v3: it is not there
blog: would set its route in http://127.0.0.1:2019
dinp-old--web--v1--1 on docker belongs to no app: would be stopped
`),
  );
  terminal.reconciled.strays = [];
  terminal.reconciled.apps[0]!.failed = ['web.2 exited with status 1 after 0.2 s.'];
  terminal.reconciled.problems = ['The Docker Engine does not answer.'];
  const failed = await terminal.type('reconcile blog');
  assert.equal(failed.status, 1);
  assert.match(failed.stdout, /^blog: could not be set right: web\.2 exited with status 1 after 0\.2 s\.$/m);
  assert.match(failed.stdout, /^could not be looked at or set right: The Docker Engine does not answer\.$/m);
  const json = await terminal.type('reconcile --json');
  assert.equal(json.status, 1);
  assert.deepEqual(JSON.parse(json.stdout), { ...terminal.reconciled, dryRun: false });
  assert.deepEqual(terminal.operations.calls, [
    ['reconcile', ['blog', 'shop'], false],
    ['reconcile', ['blog', 'shop'], false],
    ['reconcile', ['blog', 'shop'], true],
    ['reconcile', ['blog'], false],
    ['reconcile', ['blog', 'shop'], false],
  ]);
});

test('only admins reconcile', async (t) => {
  const terminal = new Terminal(t);
  terminal.deployed('blog');
  assert.equal((await terminal.type('reconcile blog', { as: deployer('bob', 'blog') })).status, 1);
  assert.deepEqual(terminal.operations.calls, []);
});
