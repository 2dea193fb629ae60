import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DinpError } from '../../../src/domain/errors.ts';
import type { InstanceSpec, RunningInstance } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH, type HealthCheck } from '../../../src/domain/process.ts';
import { waitHealthy } from '../../../src/run/health.ts';
import type { Target } from '../../../src/run/target.ts';
import { type Engine, freePort, quiet, startEngine } from './engine.ts';

const SERVE = 'exec httpd -f -p 8080 -h /www';

describe('waiting until an instance is healthy', { concurrency: 4 }, () => {
  let engine: Engine;
  before(async () => {
    engine = await startEngine();
  });
  after(async () => {
    await engine[Symbol.asyncDispose]();
  });

  async function begin(script: string, health: Partial<HealthCheck> = {}, changes: Partial<InstanceSpec> = {}) {
    const spec = await engine.spec(script, {
      port: { container: 8080, host: await freePort() },
      health: { ...DEFAULT_HEALTH, ...health },
      ...changes,
    });
    await engine.target.start(spec, quiet);
    return spec;
  }
  async function failure(spec: InstanceSpec, target: Target = engine.target): Promise<DinpError> {
    const error = await waitHealthy(target, spec, quiet).then(
      () => assert.fail('it was found healthy'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof DinpError, String(error));
    return error;
  }

  test('a web process that listens at once is healthy within a moment', async () => {
    const spec = await begin(SERVE);
    const { milliseconds, proof } = await waitHealthy(engine.target, spec, quiet);
    assert.equal(proof, 'accepts connections on port 8080');
    assert.ok(milliseconds < 1_000, `${milliseconds} ms`);
  });

  test('one that starts to listen after two seconds is not healthy before, though the published port accepts', async () => {
    const spec = await begin(`sleep 2; ${SERVE}`);
    const begun = performance.now();
    await waitHealthy(engine.target, spec, quiet);
    const waited = performance.now() - begun;
    assert.ok(waited > 1_500 && waited < 4_000, `${waited} ms`);
    assert.equal(await (await fetch(`http://127.0.0.1:${spec.port!.host}/`)).text(), 'hello from the test\n');
  });

  test('the published port alone is proof enough where the own address cannot be seen', async () => {
    const spec = await begin(`sleep 2; ${SERVE}`);
    const begun = performance.now();
    await waitHealthy(withoutAddress(engine.target), spec, quiet);
    const waited = performance.now() - begun;
    assert.ok(waited > 1_500 && waited < 20_000, `${waited} ms`);
  });

  test('a process that exits fails at once, with its status and last lines', async () => {
    const spec = await begin('echo no database; sleep 0.3; exit 3');
    const begun = performance.now();
    const error = await failure(spec);
    assert.equal(error.code, 'start-failed');
    assert.match(error.message, /^web\.1 exited with status 3 after \d+\.\d s\.$/);
    assert.match(error.detail ?? '', /no database/);
    assert.ok(performance.now() - begun < 20_000);
  });

  test('a crash is noticed also where the engine has started it again already', async () => {
    const spec = await begin('test -e /tmp/again && exec sleep 100; touch /tmp/again; exit 4', { kind: 'tcp' });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal((await engine.target.find(spec.name))!.exitCode, 4);
    // What health saw before the crash: the same instance without restarts.
    const error = await failure(spec, seenFirst(engine.target, { restarts: 0 }));
    assert.match(error.message, /^web\.1 exited with status 4 after /);
  });

  test('one that listens on another port is told so', async () => {
    const error = await failure(await begin('httpd -f -p 3000 -h /www', { startMs: 700 }));
    assert.equal(error.message, 'web.1 did not accept connections on port 8080 within 0.7 s.');
    assert.equal(error.hint, 'It listens on 3000: set "port: 3000" in dinp.yml, or let it listen on $PORT (8080).');
  });

  test('where it listens instead of its port is told once, before the wait is over, and the wait goes on', async () => {
    const spec = await begin(`httpd -p 3000 -h /www; sleep 7; ${SERVE}`);
    const lines: string[] = [];
    const begun = performance.now();
    const { milliseconds } = await waitHealthy(engine.target, spec, {
      ...quiet,
      onProgress: (line) => {
        if (line.includes('listens'))
          lines.push(`${line} after ${Math.round((performance.now() - begun) / 3_000) * 3} s`);
      },
    });
    const hint = 'web.1: It listens on 3000: set "port: 3000" in dinp.yml, or let it listen on $PORT (8080).';
    assert.deepEqual(lines, [`${hint} after 3 s`]);
    assert.ok(milliseconds > 6_000, `${milliseconds} ms`);
  });

  test('one that listens on 127.0.0.1 only is told so', async () => {
    const error = await failure(await begin('httpd -f -p 127.0.0.1:8080 -h /www', { startMs: 700 }));
    assert.match(error.message, /did not accept connections on port 8080/);
    assert.match(error.hint ?? '', /^It listens on 127\.0\.0\.1 port 8080 only, .* 0\.0\.0\.0/);
  });

  test('one that listens nowhere is told so', async () => {
    const error = await failure(await begin('sleep 100', { startMs: 500 }));
    assert.match(error.hint ?? '', /^It listens on no TCP port at all/);
  });

  test('one that the kernel kills for its memory is told so', async () => {
    const spec = await begin('x=$(yes | head -c 200000000); echo $x', {}, { memoryBytes: 16 * 1024 * 1024 });
    const error = await failure(spec);
    assert.match(error.message, /^web\.1 was killed after .*: out of memory\.$/);
    assert.equal(error.hint, 'Its limit is 16M: set a larger "memory:" in dinp.yml.');
  });

  test('http: status, body and path count', async () => {
    const good = await begin(SERVE, { kind: 'http', path: '/index.html', contains: 'hello' });
    assert.equal((await waitHealthy(engine.target, good, quiet)).proof, 'answers GET /index.html');
    const lost = await failure(await begin(SERVE, { kind: 'http', path: '/gone', startMs: 500 }));
    assert.equal(lost.message, 'web.1 answered 404 to GET /gone, still after 0.5 s.');
    const other = await failure(await begin(SERVE, { kind: 'http', path: '/', contains: 'bye', startMs: 500 }));
    assert.equal(other.message, 'web.1 answered GET / without "bye" in the body, still after 0.5 s.');
    const script = 'mkdir /www/cgi-bin; cd /www/cgi-bin; printf "#!/bin/sh\\nsleep 100\\n" > slow; chmod 755 slow; ';
    const mute = await failure(
      await begin(script + SERVE, { kind: 'http', path: '/cgi-bin/slow', timeoutMs: 200, startMs: 1_500 }),
    );
    assert.equal(mute.message, 'web.1 did not answer GET /cgi-bin/slow within 1.5 s.');
  });

  test('command: runs in the instance until it exits 0', async () => {
    const spec = await begin('sleep 0.5; touch /tmp/ready; sleep 100', {
      kind: 'command',
      command: 'test -e /tmp/ready',
    });
    const { milliseconds } = await waitHealthy(engine.target, spec, quiet);
    assert.ok(milliseconds > 200, `${milliseconds} ms`);
    const never = await begin('sleep 100', { kind: 'command', command: 'echo no such table; exit 9', startMs: 500 });
    const error = await failure(never);
    assert.equal(error.message, 'web.1 did not pass its health command (status 9: no such table) within 0.5 s.');
  });

  test("auto: an image's HEALTHCHECK decides, without waiting for its interval", async () => {
    const image = await engine.derive(['HEALTHCHECK --interval=30s CMD test -e /tmp/ready']);
    const spec = await begin('sleep 0.5; touch /tmp/ready; sleep 100', {}, { image });
    const { milliseconds, proof } = await waitHealthy(engine.target, spec, quiet);
    assert.equal(proof, 'passes its HEALTHCHECK');
    assert.ok(milliseconds < 5_000, `${milliseconds} ms`);
  });

  test('auto: without a port it must stay up', async () => {
    const stays = await begin('sleep 100', { startMs: 1_000 }, { port: undefined });
    const { milliseconds } = await waitHealthy(engine.target, stays, quiet);
    assert.ok(milliseconds >= 1_000, `${milliseconds} ms`);
    const error = await failure(await begin('sleep 0.5; exit 1', { startMs: 2_000 }, { port: undefined }));
    assert.match(error.message, /exited with status 1/);
  });

  test('can be canceled', async () => {
    const spec = await begin('sleep 100');
    const signal = AbortSignal.timeout(300);
    await assert.rejects(waitHealthy(engine.target, spec, { ...quiet, signal }), { code: 'canceled' });
  });
});

/** The target as it is for an engine on another machine: no address of the instance leads anywhere from here. */
function withoutAddress(target: Target): Target {
  return changed(target, (found) => ({ ...found, address: undefined }));
}

/** The first look finds the instance as it was a moment ago; later ones find what is really there. */
function seenFirst(target: Target, past: Partial<RunningInstance>): Target {
  let isFirst = true;
  return changed(target, (found) => {
    const seen = isFirst ? { ...found, ...past } : found;
    isFirst = false;
    return seen;
  });
}

function changed(target: Target, change: (found: RunningInstance) => RunningInstance): Target {
  return new Proxy(target, {
    get(original, key) {
      const value = original[key as keyof Target];
      if (key !== 'find') return typeof value === 'function' ? (value as () => unknown).bind(original) : value;
      return async (name: string) => {
        const found = await original.find!(name);
        return found && change(found);
      };
    },
  });
}
