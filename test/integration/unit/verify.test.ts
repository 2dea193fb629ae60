import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalHost } from '../../../src/run/local-host.ts';
import { BuildUnits } from '../../../src/unit/build-unit.ts';
import { RunUnits } from '../../../src/unit/run-unit.ts';
import { verifyUnits } from '../../../src/unit/verify.ts';
import { exampleBuild } from '../../unit/unit/example-build.ts';
import { exampleSpec } from '../../unit/unit/example-spec.ts';

const host = new LocalHost();
const units = new RunUnits('unit-templates', {
  docker: '/no/such/docker',
  server: 'local',
  environmentFolder: '/etc/dinp',
});

test('systemd-analyze finds nothing wrong with our units', async () => {
  const odd = {
    command: ['sh', '-c', '100% "$x" ; \\'],
    env: { A: '%n $B' },
    secrets: { PEM: 'a\nb' },
    volumes: { 'dinp-a': '/x y' },
  };
  const specs = [exampleSpec(), exampleSpec({ ...odd, name: 'dinp-blog--web--v3--2', index: 2 })];
  for (const kind of ['systemd', 'fleet'] as const)
    assert.deepEqual(await verifyUnits(units.render(specs, kind), host), []);
  const build = exampleBuild({ docker: '/no/such/docker', args: { A: '%n $B "' } });
  assert.deepEqual(await verifyUnits([new BuildUnits('unit-templates').render(build)], host), []);
});

test('what is wrong is said with the line', async () => {
  const [unit] = units.render([exampleSpec()], 'systemd');
  const broken = unit!.text.replace('Restart=always', 'Restart=maybe').replace('TimeoutStopSec', 'TimeoutStoppSec');
  const problems = await verifyUnits([{ name: unit!.name, text: broken }], host);
  assert.equal(problems!.length, 2);
  assert.match(
    problems!.join('\n'),
    /dinp-blog--web--v3--1\.service:\d+: Failed to parse service restart specifier, ignoring: maybe/,
  );
  assert.match(problems!.join('\n'), /:\d+: Unknown key( name)? 'TimeoutStoppSec'/);
});

test('a machine without systemd-analyze cannot say', async () => {
  const without = {
    putFile: host.putFile.bind(host),
    run: (argv: string[]) => (argv[0] === 'systemd-analyze' ? host.run(['/no/such/program']) : host.run(argv)),
  };
  assert.equal(await verifyUnits(units.render([exampleSpec()], 'systemd'), without), undefined);
});
