import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LocalHost } from '../../../src/run/local-host.ts';
import { QuadletUnits } from '../../../src/unit/quadlet.ts';
import { fitsInUnit } from '../../../src/unit/values.ts';
import { verifyQuadlets } from '../../../src/unit/verify.ts';
import { generate, quadletGenerator } from '../../support/quadlet.ts';
import { readBySystemd, type SystemdReading } from '../../support/systemd-reading.ts';
import { exampleSpec, ODD } from '../../unit/unit/example-spec.ts';

const units = new QuadletUnits('unit-templates', {
  podman: '/usr/bin/podman',
  server: 'local',
  environmentFolder: '/etc/dinp/instances',
});
/** Services that one call of systemd reads. */
const BATCH = 60;
const SPECIAL = [...' "\'\\$%;#=[]{}()<>|&*?~`!@:+-,._/^\u00a0é中💥ax0n', '%n', '%%', '$$', '${HOME}', '\\x41', '\\;'];
const text = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(...SPECIAL), maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constantFrom('', ';', '-', '@x', '$', '%', '\\', '"', "'", '#', '\\;', 'a\\'),
  )
  .filter(fitsInUnit);

test('what podman is run with is what was meant, whatever the values are', () => {
  const instance = fc.record({ command: fc.array(text, { minLength: 1, maxLength: 4 }), value: text, path: text });
  fc.assert(
    fc.property(fc.array(instance, { minLength: BATCH, maxLength: BATCH }), (all) => {
      const files = all.flatMap(({ command, value, path }, i) =>
        units.render([
          exampleSpec({ name: `dinp-s${i}`, command, env: { A: value }, volumes: { 'dinp-v': `/${path}` } }),
        ]),
      );
      const { services, said } = generate(files);
      assert.doesNotMatch(said, /converting/);
      const read = readBySystemd([...services].map(([name, unit]) => ({ name, text: unit }))).units;
      for (const [i, { command, value, path }] of all.entries()) {
        const argv = argvOf(read.get(`dinp-s${i}.service`)!);
        const at = argv.findIndex((word) => word.startsWith('127.0.0.1:5000/blog@sha256:'));
        assert.deepEqual(argv.slice(at + 1), command, files[i]!.text);
        assert.equal(argv[argv.indexOf('--env') + 1], `A=${value}`, files[i]!.text);
        const mount = argv[argv.indexOf('--mount') + 1]!;
        assert.equal(mount.replaceAll('""', '"').includes(`target=/${path}`), true, mount);
      }
    }),
    { numRuns: 3, endOnFailure: true },
  );
});

test('a whole instance: limits, files, port, restart, and nothing that the generator would not take', () => {
  const { services, said } = generate(units.render([exampleSpec(ODD)]));
  assert.doesNotMatch(said, /converting|Warning/);
  const reading = readBySystemd([...services].map(([name, unit]) => ({ name, text: unit }))).units;
  const argv = argvOf(reading.get('dinp-blog--web--v3--1.service')!);
  assert.deepEqual(argv.slice(0, 2), ['/usr/bin/podman', 'run']);
  for (const words of [
    ['--name', 'dinp-blog--web--v3--1'],
    ['--publish', '127.0.0.1:20001:8080'],
    ['--env-file', '/etc/dinp/instances/dinp-blog--web--v3--1.env'],
    ['--memory=268435456', '--memory-swap=268435456'],
    ['--stop-timeout', '30'],
    ['--pids-limit', '2048'],
    ['--cap-drop', 'all'],
    ['--label', 'dinp.unit-server=local'],
    ['--init'],
    ['--env=PEM'],
    ['--tls-verify=false'],
  ]) {
    const at = argv.indexOf(words[0]!);
    const found = words[0] === '--label' ? argv.includes(words[1]!) : argv.slice(at, at + words.length);
    assert.deepEqual(found, words[0] === '--label' ? true : words, argv.join('\n'));
  }
  assert.match(services.get('dinp-blog--web--v3--1.service')!, /^Restart=always$/m);
});

test('verifying says what the generator would not take, and nothing where there is none', async () => {
  const host = new LocalHost();
  const here = {
    putFile: host.putFile.bind(host),
    // Where Debian 13 has it.
    run: (argv: string[]) =>
      host.run(argv.map((word) => (word === '/usr/libexec/podman/quadlet' ? quadletGenerator() : word))),
  };
  const [unit] = units.render([exampleSpec(ODD)]);
  assert.deepEqual(await verifyQuadlets([unit!], here), []);
  const broken = { name: unit!.name, text: unit!.text.replace('RunInit', 'RunInnit') };
  const problems = await verifyQuadlets([broken], here);
  assert.equal(problems!.length, 1);
  assert.match(problems![0]!, /dinp-blog--web--v3--1\.container.*unsupported key 'RunInnit'/);
  const without = {
    putFile: here.putFile,
    run: (argv: string[]) => host.run(argv.map((word) => (word.endsWith('/quadlet') ? '/no/such/program' : word))),
  };
  assert.equal(await verifyQuadlets([unit!], without), undefined);
});

/** The words of ExecStart as podman gets them: the dump comes before variables are put in. */
function argvOf(reading: SystemdReading): string[] {
  const variables = new Map(reading.environment.map((each) => [each.slice(0, each.indexOf('=')), each]));
  return reading.commands.ExecStart![0]!.map((word) => {
    const name = /^\$\{(\w+)\}$/.exec(word)?.[1];
    return name === undefined ? word.replaceAll('$$', '$') : variables.get(name)!.slice(name.length + 1);
  });
}
