import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAppJson } from '../../../src/artifact/app-json.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import { plan } from './detectors/planned.ts';

const TEXT = JSON.stringify({
  name: 'Shop',
  stack: 'heroku-24',
  buildpacks: [{ url: 'heroku/nodejs' }],
  env: {
    LEVEL: 'info',
    LIMIT: { description: 'how many', value: '5' },
    TOKEN: { generator: 'secret' },
    MAIL: { required: true },
    EXTRA: { required: false },
    PORT: '5000',
  },
  formation: { web: { quantity: 2, size: 'standard-1x' }, worker: { quantity: 0 } },
  healthchecks: {
    web: [
      { type: 'liveness', uptime: 5 },
      { type: 'startup', name: 'up', path: '/up', content: 'ok', attempts: 5, wait: 2, timeout: 1, initialDelay: 90 },
    ],
    worker: [{ command: ['test', '-f', "/tmp/it's up"] }],
  },
});

test('what counts of app.json reaches the plan, below dinp.yml', async () => {
  const files = { 'app.py': '', Procfile: 'web: python3 app.py\nworker: python3 work.py', 'app.json': TEXT };
  const { processes, env, notes } = await plan({
    ...files,
    'dinp.yml': 'env: {LIMIT: 9}\nprocesses: {worker: {instances: 3}}',
  });
  assert.deepEqual(env, { LEVEL: 'info', LIMIT: '9' });
  assert.deepEqual(
    processes.map(({ name, instances, health }) => ({ name, instances, health })),
    [
      {
        name: 'web',
        instances: 2,
        health: {
          kind: 'http',
          path: '/up',
          contains: 'ok',
          intervalMs: 2000,
          timeoutMs: 1000,
          retries: 5,
          startMs: 100_000,
        },
      },
      {
        name: 'worker',
        instances: 3,
        health: {
          kind: 'command',
          command: "'test' '-f' '/tmp/it'\\''s up'",
          intervalMs: 5000,
          timeoutMs: 3000,
          retries: 3,
          startMs: 60_000,
        },
      },
    ],
  );
  assert.deepEqual(notes, [
    'app.json gives healthchecks, formation, env; what dinp.yml says wins.',
    'app.json: stack, buildpacks not used here.',
    'app.json: formation.web has size, not used here.',
    'app.json: of the 2 checks of web one is used.',
    'app.json: env.PORT is left out; dinp sets PORT.',
    'app.json asks for TOKEN, MAIL; unless set already: dinp config set TOKEN=$(openssl rand -hex 32) MAIL=VALUE',
  ]);
});

test('mistakes are told at once, by path, with the nearest key', () => {
  const text = JSON.stringify({
    formaton: {},
    env: { 'A-B': 'x', C: { vaule: 'x', required: false }, D: { generator: 'random' } },
    formation: { Web: { quantity: -1 } },
    healthchecks: { web: { path: '/up' }, worker: [{ pth: '/', attempts: 'many' }] },
  });
  assert.throws(() => parseAppJson(text), {
    code: 'refused',
    message: 'app.json has 9 mistakes:',
    detail: `formaton: there is no such key; did you mean formation?
formation.Web: a process name has lower-case letters, digits and single hyphens
formation.Web.quantity: write a number from 0 to 100
healthchecks.web: write a list such as [{"type": "startup", "path": "/up"}]
healthchecks.worker[0].pth: there is no such key; did you mean path?
healthchecks.worker[0].attempts: write a number from 1 to 100
env.A-B: a variable has letters, digits and _, and begins with no digit
env.C.vaule: there is no such key; did you mean value?
env.D.generator: write "secret"`,
  });
  assert.throws(() => parseAppJson('{'), { code: 'refused', message: /^app\.json is no JSON: / });
  assert.throws(() => parseAppJson('[]'), { message: 'app.json holds no object.' });
});

test('the app.json of another tool is left alone', () => {
  assert.equal(parseAppJson('{"expo": {"name": "x"}}'), undefined);
  assert.equal(parseAppJson('{"name": "x", "displayName": "X"}'), undefined);
  assert.equal(parseAppJson('{"pages": [], "window": {}}'), undefined);
  assert.deepEqual(parseAppJson('{}')?.notes, []);
});

test('any JSON is read or refused, never anything else', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('env', 'formation', 'healthchecks', '__proto__'), fc.jsonValue()),
      (json) => {
        try {
          parseAppJson(JSON.stringify(json));
        } catch (error) {
          assert.ok(error instanceof DinpError, String(error));
        }
      },
    ),
  );
});
