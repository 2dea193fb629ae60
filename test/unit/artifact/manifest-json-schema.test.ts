import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { parseManifest } from '../../../src/artifact/manifest.ts';
import { manifestJsonSchema, manifestJsonSchemaText } from '../../../src/artifact/manifest-json-schema.ts';

const validate = new Ajv({ strict: false, allErrors: true }).compile(manifestJsonSchema());

const SHA = 'a'.repeat(64);
const VALID = [
  '',
  'type: null\nport: null',
  'type: php\nroot: public',
  'type: war\nartifact: target/shop.war\nbase: tomcat10',
  `artifact: {url: "https://example.org/a/shop.war", sha256: ${SHA}}`,
  'dir: ./server/\ncontext: .\nwatch: [server, shared]\ndockerfile: docker/Dockerfile\nstage: run\nargs: {A: 1, B: true}',
  'builder: {image: "maven:3-eclipse-temurin-21"}\nscripts: {build: [mvn package], test: mvn test}\noutput: target',
  `builder: {image: "127.0.0.1:5000/tools/go@sha256:${SHA}", workdir: /work}\nscripts: {build: make}`,
  'processes:\n  web:\n  worker: ./work --fast\n  clock: {command: [./clock, ""], instances: 0, memory: 6M, port: auto, health: none, stop: 1m}',
  'instances: 3\nmemory: 6144K\nport: 3000\nhealth: /healthz\nenv: {A_1: x, B: 2, C: false}\nrelease: ./migrate && ./seed',
  'health: {path: /up, contains: ok, interval: 500ms, timeout: 2s, retries: 5, start: 1h}',
  'health: {command: pg_isready}',
  'health: {tcp: true}',
  'stop: 30s\nvolumes: {data: /var/lib/x}\ntarget: systemd\ndomains: [Www.Example.org]\nkeep: {branch: 2, days: 0}\ndeploy: false\nimage: shop/web\ntimeout: 15m',
];
const INVALID = [
  '- a',
  'text',
  'memry: 1G',
  'type: perl',
  'dir: /etc',
  'dir: ../x',
  'dir: a/../b',
  'watch: src',
  'watch: [1]',
  'artifact: {url: "ftp://example.org/a", sha256: x}',
  `artifact: {url: "https://example.org/a"}`,
  `artifact: {url: "https://example.org/a.war", sha256: ${SHA}, size: 3}`,
  'builder: maven',
  'builder: {image: a}',
  'scripts: {build: make}',
  'output: target',
  'builder: {image: "a b"}\nscripts: {build: make}',
  'builder: {image: a, workdir: src}\nscripts: {build: make}',
  'builder: {image: a}\nscripts: {bild: make}',
  'base: Tomcat',
  'stage: a b',
  'args: [a]',
  'args: {A-B: 1}',
  'image: Shop',
  'deploy: yes please',
  'timeout: 30',
  'timeout: 0s',
  'processes: [a]',
  'processes: {Web: ./a}',
  'processes: {web: ""}',
  'processes: {web: []}',
  'processes: {web: {cmd: ./a}}',
  'processes: {web: {health: {pth: /}}}',
  'instances: 1.5',
  'instances: 101',
  'memory: 5M',
  'memory: 6143K',
  'memory: 256',
  'port: 0',
  'port: "3000"',
  'health: up',
  'health: {path: /a, tcp: true}',
  'health: {contains: ok}',
  'health: {retries: 0}',
  'env: {PORT: 3}',
  'env: {A: [1]}',
  'release: {a: b}',
  'volumes: {data: data}',
  'volumes: {data: /a/../b}',
  'target: Docker',
  'domains: x',
  'domains: ["a b"]',
  'keep: {weeks: 1}',
  'services: {}',
];

for (const text of VALID) {
  test(`both take ${JSON.stringify(text)}`, () => {
    parseManifest(text);
    assert.ok(validate(parse(text)), JSON.stringify(validate.errors, null, 1));
  });
}
for (const text of INVALID) {
  test(`neither takes ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseManifest(text), { code: 'refused' });
    assert.ok(!validate(parse(text)));
  });
}

test('the file of the package is the one that is made', () => {
  const file = readFileSync(join(import.meta.dirname, '../../../docs/dinp.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(file), JSON.parse(manifestJsonSchemaText()), 'make docs/dinp.schema.json anew');
});

test('what builder, artifact and the misspelt say', () => {
  assert.deepEqual(parseManifest('builder: {image: a}\nscripts: {build: make, test: [a, b]}'), {
    builder: { image: 'a' },
    scripts: { build: ['make'], test: ['a', 'b'] },
  });
  assert.deepEqual(parseManifest(`artifact: {url: "http://a.example/x", sha256: ${SHA}}`), {
    download: { url: 'http://a.example/x', sha256: SHA },
  });
  assert.throws(() => parseManifest('builder: {imge: a}\nscripts: {bild: x}\nartifact: {ulr: x}'), {
    detail: `line 1: builder.image: found nothing; write an image with the toolchain, such as maven:3-eclipse-temurin-21
line 1: builder.imge: there is no such key; did you mean image?
line 2: scripts.bild: there is no such key; did you mean build?
line 3: artifact.url: found nothing; write an address such as https://example.org/app.war
line 3: artifact.sha256: found nothing; write the 64 hexadecimal digits that sha256sum prints
line 3: artifact.ulr: there is no such key; did you mean url?`,
  });
});
