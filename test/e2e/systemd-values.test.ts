import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { splitEnvironment } from '../../src/unit/environment.ts';
import { encodeArgv, encodeEnv, fitsInUnit } from '../../src/unit/values.ts';
import { SystemdMachine } from '../support/systemd-host.ts';
import { exampleSpec } from '../unit/unit/example-spec.ts';

/** Values in one unit; each is started for real. */
const BATCH = 150;
const SPECIAL = [
  ...' "\'\\$%;#=[]{}()<>|&*?~`!@:+-,._/^é中💥ax0n',
  '%n',
  '%%',
  '$$',
  '${HOME}',
  '$HOME',
  '\\x41',
  '\\;',
  '\\\\',
  ' ; ',
];
const word = fc.string({ unit: fc.constantFrom(...SPECIAL), maxLength: 12 }).filter(fitsInUnit);
const anyText = fc.oneof(
  fc.string({ unit: fc.constantFrom(...SPECIAL, '\n', '\r', '\t', '\x1b', '\n\n'), maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => text.isWellFormed() && !text.includes('\0')),
);

let machine: SystemdMachine;
before(async () => {
  machine = await SystemdMachine.boot();
});
after(async () => await machine?.[Symbol.asyncDispose]());

/** Runs a oneshot unit whose standard output goes to a file, and gives that file's bytes as text. */
async function outputOf(service: string): Promise<string> {
  await machine.exec('rm -f /tmp/out');
  const unit = `[Service]\nType=oneshot\nStandardOutput=append:/tmp/out\n${service}`;
  await machine.host.putFile('/run/systemd/system/t-values.service', unit, 0o644);
  await machine.exec(
    'systemctl daemon-reload; systemctl start t-values.service || { journalctl -u t-values -n 5; exit 1; }',
  );
  const { stdout } = await machine.host.run(['cat', '/tmp/out']);
  return stdout;
}

test('programs get the words that were meant: nothing splits, expands or is lost', async () => {
  const commands = fc.sample(fc.array(word, { maxLength: 4 }), BATCH);
  const script = 'printf "%s\\0" "$#" "$@"';
  const lines = commands.map((words) => `ExecStart=${encodeArgv(['/bin/sh', '-c', script, 'sh', ...words])}\n`);
  const out = await outputOf(`Environment=HOME=/expanded\n${lines.join('')}`);
  const meant = commands.flatMap((words) => [String(words.length), ...(words.length === 0 ? [] : words)]);
  assert.deepEqual(out.split('\0').slice(0, -1), meant);
});

test('a word that is a variable of the unit is that value, one word whatever is in it', async () => {
  const values = fc.sample(word, 20);
  const lines = values.map((value, i) => `Environment=${encodeEnv(`DINP_WORD_${i}`, value)}\n`);
  const words = values.map((_, i) => ({ variable: `DINP_WORD_${i}` }));
  const argv = encodeArgv(['/bin/sh', '-c', 'printf "%s\\0" "$@"', 'sh', ...words]);
  assert.deepEqual((await outputOf(`${lines.join('')}ExecStart=${argv}\n`)).split('\0').slice(0, -1), values);
});

test('Environment= gives the values that were meant', async () => {
  const values = Object.fromEntries(fc.sample(word, BATCH).map((value, i) => [`V${i}`, value]));
  const lines = Object.entries(values).map(([name, value]) => `Environment=${encodeEnv(name, value)}\n`);
  assert.deepEqual(variablesOf(await outputOf(`${lines.join('')}ExecStart=/usr/bin/env -0\n`)), values);
});

test('EnvironmentFile= gives values of several lines as they were', async () => {
  const values = fc
    .sample(
      anyText.filter((text) => !/\p{Noncharacter_Code_Point}/u.test(text)),
      BATCH,
    )
    .map((value) => `${value}\n`);
  const secrets = Object.fromEntries(
    [...values, '\n', '"\n"', '\\\n\\', '\r\n', 'x'.repeat(100_000)].map((value, i) => [`V${i}`, value]),
  );
  const { systemdFile, dockerFile, passedOn } = splitEnvironment({ ...exampleSpec(), env: {}, secrets }, '/tmp');
  assert.equal(dockerFile, undefined);
  assert.equal(passedOn.length, BATCH + 5);
  await machine.host.putFile(systemdFile!.path, systemdFile!.text, 0o600);
  assert.deepEqual(
    variablesOf(await outputOf(`EnvironmentFile=${systemdFile!.path}\nExecStart=/usr/bin/env -0\n`)),
    secrets,
  );
});

test('docker --env-file gives values of one line as they were', async () => {
  const image = await machine.pushBusybox('busy');
  const oneLine = anyText.filter((text) => !/[\n\r]/.test(text));
  const secrets = Object.fromEntries(
    [...fc.sample(oneLine, BATCH), '', ' lead', 'trail ', '#x', '"q"', 'y'.repeat(50_000)].map((value, i) => [
      `V${i}`,
      value,
    ]),
  );
  const { systemdFile, dockerFile } = splitEnvironment({ ...exampleSpec(), env: {}, secrets }, '/tmp');
  assert.equal(systemdFile, undefined);
  await machine.host.putFile(dockerFile!.path, dockerFile!.text, 0o600);
  const argv = [
    'docker',
    'run',
    '--rm',
    '--log-driver=none',
    `--env-file=${dockerFile!.path}`,
    `${image.repository}@${image.digest}`,
  ];
  const { stdout } = await machine.host.run([...argv, 'cat', '/proc/self/environ']);
  assert.deepEqual(variablesOf(stdout), secrets);
});

/** The variables named V…, out of what `env -0` or /proc/PID/environ gives. */
function variablesOf(environ: string): Record<string, string> {
  const entries = environ.split('\0').filter((entry) => /^V\d+=/.test(entry));
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}
