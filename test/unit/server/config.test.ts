import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import {
  adminAddresses,
  loadConfig,
  parseConfigDuration,
  parsePortRange,
  sampleConfig,
} from '../../../src/server/config.ts';
import { readTls } from '../../../src/server/read-tls.ts';
import { tempFolder } from '../../support/temp-folder.ts';

function file(text: string): string {
  const path = join(tempFolder(), 'dinp.yml');
  writeFileSync(path, text);
  return path;
}

test('file, environment and flags win in this order', () => {
  const config = file('data: /srv/dinp\nssh: {port: 1, user: git}\n');
  assert.deepEqual(loadConfig(config, {}).ssh, { host: '0.0.0.0', port: 1, user: 'git' });
  assert.equal(loadConfig(config, { DINP_SSH_PORT: '2' }).ssh.port, 2);
  assert.equal(loadConfig(config, { DINP_SSH_PORT: '2' }, ['ssh.port=3']).ssh.port, 3);
  assert.equal(loadConfig(undefined, { DINP_APPS_CREATE: 'false' }).apps.create, false);
});

test('every mistake is told at once, with its path and the nearest key', () => {
  const config = file('ssh: {prot: 22, port: many}\ntagret: docker\nports: {apps: 5-3}\nbuilds: {timeout: 15}\n');
  assert.throws(
    () => loadConfig(config, {}),
    (error: Error) => {
      assert.match(error.message, /ssh\.prot: no such key; did you mean port\?/);
      assert.match(error.message, /ssh\.port: /);
      assert.match(error.message, /tagret: no such key; did you mean target\?/);
      assert.match(error.message, /ports\.apps: must be two ports such as 22000-24999/);
      assert.match(error.message, /builds\.timeout: /);
      return true;
    },
  );
});

test('files that are missing or no YAML are named', () => {
  assert.throws(
    () => loadConfig('/nonexistent/dinp.yml', {}),
    /the config file \/nonexistent\/dinp\.yml cannot be read/,
  );
  assert.throws(() => loadConfig(file('a: [1\nb: 2'), {}), /line 2 is not valid YAML/);
  assert.throws(() => loadConfig(file('- a\n'), {}), /must hold keys and values/);
  assert.throws(() => loadConfig(undefined, {}, ['ssh.port']), /--set takes KEY=VALUE, not "ssh\.port"/);
});

test('the sample is the defaults, and the README shows it', () => {
  const sample = sampleConfig();
  const file = tempFolder();
  writeFileSync(join(file, 'dinp.yml'), sample);
  assert.deepEqual(loadConfig(join(file, 'dinp.yml'), {}), loadConfig(undefined, {}));
  assert.ok(Object.keys(parse(sample) as object).length > 8);
  assert.ok(readFileSync('README.md', 'utf8').includes(sample), 'README.md does not show the sample config as it is');
});

test('durations and port ranges are read', () => {
  assert.deepEqual(['500ms', '30s', '15m', '1h'].map(parseConfigDuration), [500, 30_000, 900_000, 3_600_000]);
  assert.deepEqual(parsePortRange('22000-24999'), [22000, 24999]);
});

test('routers are one admin address, several or none', () => {
  const routersOf = (text: string) => adminAddresses(loadConfig(file(`router: {caddy: ${text}}\n`), {}));
  assert.deepEqual(adminAddresses(loadConfig(undefined, {})), ['http://127.0.0.1:2019']);
  assert.deepEqual(routersOf('none'), []);
  assert.deepEqual(routersOf('["http://10.0.0.1:2019", "unix:/run/caddy.sock"]'), [
    'http://10.0.0.1:2019',
    'unix:/run/caddy.sock',
  ]);
  const fromFlag = loadConfig(undefined, { DINP_ROUTER_CADDY: 'http://a:1,http://b:2' });
  assert.deepEqual(adminAddresses(fromFlag), ['http://a:1', 'http://b:2']);
  for (const text of ['localhost:2019', 'https://a:1', '["http://a:1", none]', '[]', '"unix:"', 'http://a:1/x'])
    assert.throws(() => routersOf(text), /router\.caddy: /, text);
});

test('HTTPS is off, or has all that it needs', () => {
  const tlsOf = (text: string) => readTls(loadConfig(file(`router: {${text}}\n`), {}).router);
  assert.equal(tlsOf('tls: off'), undefined);
  const acme = tlsOf('tls: acme, email: ops@example.org, tlsListen: ":8443"')!;
  assert.deepEqual([acme.from, acme.email, acme.listen, acme.certificates], ['acme', 'ops@example.org', ':8443', []]);
  for (const [text, message] of [
    ['tls: on', /router\.tls: /],
    ['tls: acme, email: ops', /router\.email: /],
    ['tls: acme, ca: there', /router\.ca: /],
    ['tls: files', /router\.certificates has none/],
    ['certificates: [{cert: /a, key: /b}]', /but router\.tls is off/],
    [
      'tls: files, certificates: [{cert: /nonexistent.pem, key: /b}]',
      /certificate \/nonexistent\.pem .* cannot be read/,
    ],
    ['tls: files, certificates: [{cert: /etc/hostname, key: /b}]', /certificate \/etc\/hostname .* cannot be read/],
  ] as const)
    assert.throws(() => tlsOf(text), message, text);
});
