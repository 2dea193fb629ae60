import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { needsShell, parseCommand } from '../../../src/artifact/command.ts';

test('plain words need no shell, anything a shell would touch gets one', () => {
  const shell = (text: string) => ['/bin/sh', '-c', text];
  const cases: [string, string[]][] = [
    ['./server', ['./server']],
    ['  ./server  --port\t8080 ', ['./server', '--port', '8080']],
    ['java -jar app.jar --a=b', ['java', '-jar', 'app.jar', '--a=b']],
    ['./server --port $PORT', shell('./server --port $PORT')],
    ['cd web && ./run', shell('cd web && ./run')],
    ['A=1 ./run', shell('A=1 ./run')],
    ['exec ./run', shell('exec ./run')],
    ['echo "a b"', shell('echo "a b"')],
    ['ls *.txt', shell('ls *.txt')],
    ['run ~/x', shell('run ~/x')],
  ];
  for (const [text, argv] of cases) assert.deepEqual(parseCommand(text), argv, text);
  assert.equal(needsShell(parseCommand('a $b')), true);
  assert.equal(needsShell(parseCommand('a b')), false);
});

test('what is split means the same to a real shell', () => {
  const word = fc.string({
    unit: fc.constantFrom(...'ab1-_./:=,+@%$"\'\\ \t*~#;|&(){}[]!<>?^`'),
    minLength: 1,
    maxLength: 12,
  });
  fc.assert(
    fc.property(word, (text) => {
      const argv = parseCommand(`printf ${text}`);
      fc.pre(!needsShell(argv) && text.trim() !== '');
      const script = `for word in ${text}; do printf '%s\\0' "$word"; done`;
      const seen = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).stdout.split('\0').slice(0, -1);
      assert.deepEqual(argv.slice(1), seen, text);
    }),
    { numRuns: 300 },
  );
});
