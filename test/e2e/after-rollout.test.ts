import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { startServer, type TestServer } from '../support/dinp-server.ts';
import { type EngineProxy, startEngineProxy } from '../support/engine-proxy.ts';
import type { GitClient } from '../support/git-client.ts';
import { until } from '../support/until.ts';
import { startWebhook, type Webhook } from '../support/webhook.ts';

interface Told {
  event: string;
  app: string | null;
  text: string;
  deploy?: { release: number | null; commit: string; reason: string | null };
  instance?: { name: string; problem: string | null };
}

interface Shown {
  name: string;
  state: string;
  desired: boolean;
  routed: boolean | null;
  startedAt: string;
  health: { state: string; restarts: number; problem: string | null } | null;
}

const SECRET = 'a key of the operator';
/** A page whose health is a file that is there anew after each start. */
const WITH_HEALTH = 'CMD ["sh", "-c", "echo all is well > /www/health; exec busybox httpd -f -p 8080 -h /www"]';
const QUICK = 'health: {path: /health, contains: well, interval: 1s, timeout: 1s, retries: 2, start: 20s}\nstop: 1s\n';

function docker(...args: string[]): string {
  return execFileSync('docker', args, { encoding: 'utf8' }).trim();
}

describe('after a rollout', () => {
  let server: TestServer;
  let engine: EngineProxy;
  let hook: Webhook;
  /** An app of one instance, and one of two. */
  let one: GitClient;
  let two: GitClient;

  before(async () => {
    engine = await startEngineProxy();
    hook = await startWebhook();
    server = await startServer({
      config: {
        docker: { socket: engine.socket },
        reconcile: { every: '1s' },
        notify: { url: hook.url, secret: SECRET },
      },
    });
    [one, two] = await Promise.all([released(1), released(2)]);
  });
  after(async () => {
    await server?.endTidily();
    await engine?.[Symbol.asyncDispose]();
    await hook?.[Symbol.asyncDispose]();
  });

  async function released(instances: number): Promise<GitClient> {
    const me = await server.client();
    const Dockerfile = server.dockerfile().replace(/CMD .*/, WITH_HEALTH);
    await me.commit({ Dockerfile, 'index.html': 'one\n', 'dinp.yml': `instances: ${instances}\n${QUICK}` });
    const push = await me.push();
    assert.equal(push.status, 0, push.output);
    return me;
  }

  const told = (): Told[] => hook.taken.map(({ body }) => JSON.parse(body) as Told);
  const toldOf = (app: string) => told().filter((each) => each.app === app);
  const shown = async (app: string) => JSON.parse(await server.dinpOk('ps', app, '--json')) as Shown[];

  async function upstreams(app: string): Promise<string[]> {
    const url = `${server.caddy.admin}/config/apps/http/servers/dinp-${app}/routes/0/handle/0/upstreams`;
    // Caddy cuts its admin's connections when it takes a new config.
    const answer = await until('Caddy says where it leads', () => fetch(url).catch(() => undefined));
    return answer.ok ? ((await answer.json()) as { dial: string }[]).map(({ dial }) => dial).sort() : [];
  }

  it('starts an instance again that somebody removed, and tells of deploys with a signature', async () => {
    const me = one;
    const [name] = server.containers(me.app);
    docker('rm', '-f', name!);
    await until('its address answers again', async () => (await server.curl(me.app)).status === 200);
    assert.deepEqual(server.containers(me.app), [name]);
    await me.commit({ Dockerfile: 'FROM nothing:here\n' });
    assert.equal((await me.push()).status, 1);
    await until('the failure is told', () => toldOf(me.app).some(({ event }) => event === 'deploy.failed'));
    const deploys = toldOf(me.app).filter(({ event }) => event.startsWith('deploy.'));
    assert.deepEqual(
      deploys.map(({ event, deploy }) => [event, deploy?.release, deploy?.reason === null]),
      [
        ['deploy.succeeded', 1, true],
        ['deploy.failed', null, false],
      ],
    );
    for (const { headers, body } of hook.taken) {
      const hmac = createHmac('sha256', SECRET).update(body).digest('hex');
      assert.equal(headers['x-dinp-signature'], `sha256=${hmac}`);
    }
  });

  it('leads visitors past an instance that fails, restarts it and leads them back; the others are not touched', async () => {
    const me = two;
    const all = await upstreams(me.app);
    assert.equal(all.length, 2);
    const [first, second] = await shown(me.app);
    await until('both are known to be well', async () =>
      (await shown(me.app)).every(({ health }) => health?.state === 'healthy'),
    );
    docker('exec', first!.name, 'rm', '/www/health');
    await until('it is out of the route', async () => (await upstreams(me.app)).length === 1);
    await until('it is back', async () => (await upstreams(me.app)).length === 2);
    assert.deepEqual(await upstreams(me.app), all);
    const now = await shown(me.app);
    assert.deepEqual(
      now.map(({ health, routed }) => [health?.state, health?.restarts, routed]),
      [
        ['healthy', 1, true],
        ['healthy', 0, true],
      ],
    );
    assert.notEqual(now[0]!.startedAt, first!.startedAt);
    assert.equal(now[1]!.startedAt, second!.startedAt);
    await until('it was told', () => toldOf(me.app).length === 3);
    assert.partialDeepStrictEqual(toldOf(me.app), [
      { event: 'deploy.succeeded' },
      {
        event: 'instance.failing',
        text: `${me.app}: web.1 fails: it answered 404 to GET /health`,
        instance: { name: first!.name, problem: 'answered 404 to GET /health' },
      },
      { event: 'instance.recovered', instance: { name: first!.name, problem: null } },
    ]);
  });

  it('keeps the traffic on instances that all fail, and says how they are', async () => {
    const me = two;
    const all = await upstreams(me.app);
    // They stay unhealthy over restarts: a folder is in the place of the file.
    for (const name of server.containers(me.app)) docker('exec', name, 'sh', '-c', 'rm /www/health; mkdir /www/health');
    await until('a restart did not help', async () => {
      const rows = await shown(me.app);
      return (
        rows.every(({ health, routed }) => health?.state === 'failing' && routed) &&
        rows.some(({ health, state }) => state === 'running' && health!.restarts > 0)
      );
    });
    assert.deepEqual(await upstreams(me.app), all);
    assert.deepEqual(await server.curl(me.app), { status: 200, body: 'one\n' });
    const text = await server.dinpOk('ps');
    assert.match(text, new RegExp(`^APP +INSTANCE +.*\\n(?:.*\\n)*${me.app} +web\\.[12] +v1 +running, failing `));
    assert.match(text, new RegExp(`${me.app}: web\\.[12] has been failing for [^:]+: it .+; restarted`));
    await server.dinpOk('apps', 'destroy', me.app, '--confirm', me.app);
  });

  it('stops strays of its own, and nobody else’s', async () => {
    const me = one;
    const [name] = server.containers(me.app);
    const [, server_] = /dinp\.server=(\w+)/.exec(
      docker('inspect', '-f', '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}', name!),
    )!;
    const run = (container: string, owner: string, app: string) => {
      const labels = [`dinp.server=${owner}`, `dinp.app=${app}`, 'dinp.release=1', 'dinp.process=web', 'dinp.index=9'];
      const image = docker('inspect', '-f', '{{.Image}}', name!);
      docker(
        'run',
        '-d',
        '--init',
        '--name',
        container,
        ...labels.flatMap((label) => ['--label', label]),
        image,
        'sleep',
        '60',
      );
    };
    const stray = `dinp-${me.app}--web--v1--9`;
    const ghost = `dinp-${server.prefix}-ghost--web--v1--1`;
    const foreign = `dinp-${server.prefix}-foreign--web--v1--1`;
    run(foreign, 'somebody-else', me.app);
    try {
      run(stray, server_!, me.app);
      run(ghost, server_!, `${server.prefix}-ghost`);
      await until('ours are gone', () => {
        const there = docker('ps', '-a', '--format', '{{.Names}}').split('\n');
        return !there.includes(stray) && !there.includes(ghost);
      });
      assert.equal(docker('inspect', '-f', '{{.State.Status}}', foreign), 'running');
      assert.deepEqual(server.containers(me.app), [name]);
    } finally {
      docker('rm', '-f', foreign);
    }
  });

  it('sets routes again in a router that lost them', async () => {
    const me = one;
    await server.caddy.restartAnew();
    await until('its address answers again', async () => (await server.curl(me.app)).status === 200);
    assert.deepEqual(await server.curlUrl(server.stableUrl(me.app)), { status: 200, body: 'one\n' });
  });

  it('takes no answer of the engine, and no container in it, for nothing that should run', async () => {
    const me = one;
    const ids = () => docker('inspect', '-f', '{{.Id}} {{.State.StartedAt}}', ...server.containers());
    const before = ids();
    engine.blind = true;
    const dry = await server.dinp('reconcile', me.app, '--dry-run');
    assert.deepEqual([dry.status, dry.output], [0, `${me.app}: would start web.1 of v1: it is not there\n`]);
    await until('a whole pass has seen nothing', () =>
      server.log().includes('"did":["start web.1 of v1: it is not there"]'),
    );
    engine.blind = false;
    await engine.cut();
    const cut = await server.dinp('reconcile');
    assert.equal(cut.status, 1, cut.output);
    assert.match(cut.output, /^could not be looked at or set right: .*engine/im);
    const ps = await server.dinpOk('ps');
    assert.match(ps, new RegExp(`${me.app} +- +- +unknown`));
    await until('it is told', () => told().some(({ event }) => event === 'target.unreachable'));
    assert.equal((await server.curl(me.app)).status, 200);
    await engine.restore();
    await until('it is told that it is back', () => told().some(({ event }) => event === 'target.back'));
    assert.equal(ids(), before);
    await until('all is well', async () => {
      const { status, output } = await server.dinp('reconcile');
      return status === 0 && output === 'All is as it should be: 1 app.\n';
    });
  });
});
