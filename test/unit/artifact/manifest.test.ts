import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseManifest } from '../../../src/artifact/manifest.ts';
import { DinpError } from '../../../src/domain/errors.ts';

test('all that one service can say', () => {
  const manifest = parseManifest(`
type: dockerfile
dir: ./server/
context: .
watch: [server, shared]
dockerfile: docker/Dockerfile
stage: runtime
args: {VERSION: 3, DEBUG: true}
image: blog/web
timeout: 20m
processes:
  web:
  worker: ./work --fast
  clock: {command: [./clock, "every $HOUR"], instances: 2, memory: 1G, port: 9000, health: {tcp: true, retries: 5}}
instances: 3
memory: 512M
port: 3000
health: {path: /healthz, contains: ok, interval: 500ms, timeout: 2s, start: 2m}
env: {GREETING: hello, LIMIT: 10, ON: true}
release: ./migrate && ./seed
stop: 1m
volumes: {data: /var/lib/blog}
target: systemd
domains: [Blog.Example.org, "*.bücher.example"]
keep: {days: 7}
deploy: true
artifact: null
`);
  assert.deepEqual(manifest, {
    type: 'dockerfile',
    dir: 'server',
    context: '.',
    watch: ['server', 'shared'],
    dockerfile: 'docker/Dockerfile',
    stage: 'runtime',
    args: { VERSION: '3', DEBUG: 'true' },
    image: 'blog/web',
    timeout: 1_200_000,
    processes: {
      web: {},
      worker: { command: ['./work', '--fast'] },
      clock: {
        command: ['./clock', 'every $HOUR'],
        instances: 2,
        memory: 1_073_741_824,
        port: 9000,
        health: { kind: 'tcp', intervalMs: 5000, timeoutMs: 3000, retries: 5, startMs: 60_000 },
      },
    },
    instances: 3,
    memory: 536_870_912,
    port: 3000,
    health: {
      kind: 'http',
      path: '/healthz',
      contains: 'ok',
      intervalMs: 500,
      timeoutMs: 2000,
      retries: 3,
      startMs: 120_000,
    },
    env: { GREETING: 'hello', LIMIT: '10', ON: 'true' },
    release: ['/bin/sh', '-c', './migrate && ./seed'],
    stop: 60_000,
    volumes: { data: '/var/lib/blog' },
    target: 'systemd',
    domains: ['blog.example.org', '*.xn--bcher-kva.example'],
    keep: { days: 7 },
    deploy: true,
  });
  assert.deepEqual(parseManifest(''), {});
  assert.deepEqual(parseManifest('# nothing yet\n'), {});
  assert.equal(parseManifest('health: /up').health?.path, '/up');
  assert.equal(parseManifest('health: none').health?.kind, 'none');
});

test('all mistakes are told at once, each with its line, its path and what would be right', () => {
  const text = `memry: 512M
port: 99999
processes:
  web: {command: ./run, memry: 3, memory: lots}
  Bad: x
  worker: {health: {path: x, pth: 1}}
services: {}
env: {PORT: 3, A-B: 1, C: [1], D: "a\\nb"}
domains: x
health: 7
volumes: {data: data}
instances: 1.5
stop: 30
dir: ../other
artifact: /etc/passwd
timeout: 0s
memory: 1M
`;
  assert.throws(() => parseManifest(text), {
    code: 'refused',
    message: 'dinp.yml has 21 mistakes:',
    detail: `line 1: memry: there is no such key; did you mean memory?
line 2: port: found 99999; write auto, or a port such as 3000
line 4: processes.web.memory: found "lots"; write a size of at least 6M, such as 256M or 1G
line 4: processes.web.memry: there is no such key; did you mean memory?
line 5: processes.Bad: a name has lower-case letters, digits and single hyphens, at most 30 characters
line 6: processes.worker.health.path: found "x"; write a path such as /healthz
line 6: processes.worker.health.pth: there is no such key; did you mean path?
line 7: services: this version of dinp does not support it yet (several services in one repository); take the key out
line 8: env.PORT: PORT is set by dinp; write "port: 3000" instead
line 8: env.A-B: a variable has letters, digits and _, and begins with no digit
line 8: env.C: found a list; write a text, a number, true or false
line 8: env.D: holds a line break or control character; set it with "dinp config set", which takes any text
line 9: domains: found "x"; write a list of host names, such as [www.example.org]
line 10: health: found 7; write auto, none, a path such as /healthz, or {path: /healthz, interval: 5s}
line 11: volumes.data: found "data"; write an absolute path in the container, such as /data
line 12: instances: found 1.5; write a number from 0 to 100
line 13: stop: found 30; write a time such as 30s
line 14: dir: found "../other"; write a folder of the commit, such as server
line 15: artifact: found "/etc/passwd"; write a path in the commit, such as dist/server
line 16: timeout: found "0s"; write a time such as 15m
and 1 more`,
    hint: 'Correct it, commit and push again.',
  });
});

test('files that are no map of keys', () => {
  const cases: [string, string][] = [
    ['- a', 'line 1: the file: found a list; write "key: value" lines, such as "memory: 256M"'],
    ['just text', 'line 1: the file: found "just text"; write "key: value" lines, such as "memory: 256M"'],
    ['port: 1\nport: 2', 'line 2: Map keys must be unique'],
    ['processes: [a]', 'line 1: processes: found a list; write a map of names to values'],
    [
      'processes:\n  web: {health: {path: /a, tcp: true}}',
      'line 2: processes.web.health: path and tcp cannot be together; keep one',
    ],
    ['health: {contains: ok}', 'line 1: health.contains: needs a path whose answer is looked at'],
    [
      'domains:\n  - ok.example.org\n  - "a b"',
      'line 3: domains[1]: found "a b"; write a host name such as www.example.org',
    ],
  ];
  for (const [text, detail] of cases) assert.throws(() => parseManifest(text), { code: 'refused', detail }, text);
});

test('a file made to unfold without end is refused', () => {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x]'];
  for (let i = 0; i < 9; i++)
    lines.push(`${'bcdefghij'[i]}: &${'bcdefghij'[i]} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(', ')}]`);
  assert.throws(() => parseManifest(lines.join('\n')), { code: 'refused' });
});

test('any text is read or refused, never anything else', () => {
  const key = fc.constantFrom(
    'type',
    'dir',
    'processes',
    'web',
    'health',
    'port',
    'env',
    '__proto__',
    'constructor',
    'domains',
    'watch',
    '*a',
    '<<',
  );
  const line = fc
    .tuple(fc.nat(3), key, fc.string({ maxLength: 12 }))
    .map(([depth, name, value]) => `${'  '.repeat(depth)}${name}: ${value}`);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(line, { maxLength: 8 }).map((lines) => lines.join('\n')),
        fc.string({ unit: 'binary', maxLength: 80 }),
      ),
      (text) => {
        try {
          parseManifest(text);
        } catch (error) {
          assert.ok(error instanceof DinpError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('options for fleet, and those that fleet would refuse, by their path', () => {
  const { fleet } = parseManifest(`
fleet:
  MachineMetadata: [zone=a, disk=ssd]
  Conflicts: batch*.service
  spread: false
`);
  assert.deepEqual(fleet, {
    MachineMetadata: ['zone=a', 'disk=ssd'],
    Conflicts: ['batch*.service'],
    spread: false,
  });
  const refused = (text: string) => {
    try {
      parseManifest(text);
      return 'taken';
    } catch (error) {
      return `${(error as DinpError).message}\n${(error as DinpError).detail ?? ''}`;
    }
  };
  assert.match(
    refused('fleet: {Global: true, Replaces: a.service}\n'),
    /line 1: fleet\.Global: cannot be together with Replaces: fleet refuses a unit with both/,
  );
  assert.match(
    refused('fleet:\n  Conflicts: db*\n  MachineOf: db.service\n'),
    /line 2: fleet\.Conflicts: "db\*" is also db\.service/,
  );
  assert.match(refused('fleet: {MachineMetadata: [a=b=c]}\n'), /fleet\.MachineMetadata: found a list; write key=value/);
  assert.match(refused('fleet: {Conflicts: "%p*"}\n'), /fleet\.Conflicts: found "%p\*"; write names of units/);
  assert.match(refused('fleet: {MachineMetaData: a=b}\n'), /no such key; did you mean MachineMetadata\?/);
  assert.match(
    refused('fleet: {MachineID: 282f949f}\n'),
    /fleet\.MachineID: found "282f949f"; write a machine's whole id/,
  );
});
