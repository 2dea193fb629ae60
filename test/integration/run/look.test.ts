import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InstanceSpec } from '../../../src/domain/instance.ts';
import { DEFAULT_HEALTH, type HealthCheck } from '../../../src/domain/process.ts';
import { lookAt } from '../../../src/run/look.ts';
import { until } from '../../support/until.ts';
import { freePort, quiet, startEngine } from './engine.ts';

test('one look at an instance, by each kind of check', async () => {
  await using engine = await startEngine();
  const spec = await engine.spec('touch /tmp/ok; exec httpd -f -p 8080 -h /www', {
    port: { container: 8080, host: await freePort() },
  });
  await engine.target.start(spec, quiet);
  const look = async (health: Partial<HealthCheck>, more: Partial<InstanceSpec> = {}) => {
    const [real] = await engine.target.list(spec.app);
    const asked = { ...spec, health: { ...DEFAULT_HEALTH, ...health }, ...more };
    const seen = await lookAt(engine.target, asked, real, new AbortController().signal);
    return seen.kind === 'healthy' ? 'healthy' : `${seen.kind}: it ${seen.problem}`;
  };
  await until('it listens', async () => (await look({ kind: 'tcp' })) === 'healthy');
  assert.deepEqual(
    await Promise.all([
      look({ kind: 'auto' }),
      look({ kind: 'http', path: '/', contains: 'hello' }),
      look({ kind: 'http', path: '/', contains: 'bye' }),
      look({ kind: 'http', path: '/none' }),
      look({ kind: 'command', command: 'test -e /tmp/ok' }),
      look({ kind: 'command', command: 'echo no database; exit 3' }),
      look({ kind: 'command', command: 'sleep 60', timeoutMs: 300 }),
      look({ kind: 'tcp' }, { port: { container: 8080, host: await freePort() } }),
      look({ kind: 'auto' }, { port: undefined }),
    ]),
    [
      ...['healthy', 'healthy'],
      'failing: it answered GET / without "bye" in the body',
      'failing: it answered 404 to GET /none',
      'healthy',
      'failing: it did not pass its health command (status 3: no database)',
      'failing: it did not pass its health command (it took too long)',
      'failing: it did not accept connections',
      'healthy',
    ],
  );
  await engine.docker.getContainer(spec.name).stop({ t: 0 });
  assert.match(await look({ kind: 'http', path: '/' }), /^failing: it exited with status 1(?:37|43)$/);
  await engine.target.remove([spec]);
  assert.equal(await look({ kind: 'none' }), 'failing: it is not there');
});
