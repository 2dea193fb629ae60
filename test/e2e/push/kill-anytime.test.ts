import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer, type TestServer } from '../../support/dinp-server.ts';
import type { GitClient } from '../../support/git-client.ts';
import { seeded } from '../../support/seeded.ts';
import { until } from '../../support/until.ts';

/** To repeat a run: DINP_TEST_SEED=123. */
const SEED = Number(process.env.DINP_TEST_SEED ?? randomInt(1_000_000));
const LOOP_MS = 25_000;
/** About as long as a push takes, so that every stage is met. */
const LONGEST_DELAY_MS = 1_800;

/** What git or the server leaves where it is killed in the middle, and a start must sweep. */
function leftovers(server: TestServer): string[] {
  return readdirSync(join(server.data, 'repositories'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    /\.lock$|\/tmp_|^\.new-|^\.gone-/.test(path),
  );
}

/** The rules that hold after every crash and start. `pages` are the contents of the commits, in order. */
async function check(server: TestServer, me: GitClient, pages: Map<string, string>): Promise<void> {
  const tip = server.ref(me.app, 'refs/heads/master');
  const build = await until('every build has ended', () => {
    const builds = server.builds(me.app);
    return builds.every(({ state }) => state !== 'waiting' && state !== 'running') ? builds.at(-1) : undefined;
  });
  assert.equal(build.sha, tip, 'the branch and the last build agree');
  assert.equal(build.state, 'succeeded', `build ${build.number} ${build.state}: ${build.reason}`);
  const live = server.releases(me.app).filter(({ state }) => state === 'live');
  assert.deepEqual(
    live.map(({ number }) => number),
    [build.release],
  );
  assert.deepEqual(await server.curl(me.app), { status: 200, body: pages.get(tip!) });
  await until('nothing else runs', async () => (await server.problems()).length === 0, 20_000).catch(() => undefined);
  assert.deepEqual(await server.problems(), []);
  assert.deepEqual(leftovers(server), []);
}

describe('kill -9 of the server at any moment of a push', () => {
  it('loses nothing: the last release serves all the time, and the next start takes up what was pushed', async (t) => {
    t.diagnostic(`seed ${SEED}`);
    const random = seeded(SEED);
    await using server = await startServer();
    const me = await server.client();
    const pages = new Map<string, string>();
    const commit = async (page: string) => pages.set(await me.commit(server.quickApp(page)), `${page}\n`);
    await commit('first');
    assert.equal((await me.push()).status, 0);

    const end = Date.now() + LOOP_MS;
    let round = 0;
    for (; Date.now() < end; round++) {
      await commit(`round ${round}`);
      const push = me.startPush();
      const delay = Math.floor(random() * LONGEST_DELAY_MS);
      await sleep(delay);
      await server.kill();
      const { output } = await push.ended;
      const { status, body } = await server.curl(me.app);
      const where = `seed ${SEED}, round ${round}, killed after ${delay} ms; the push said:\n${output}`;
      assert.equal(status, 200, where);
      assert.ok([...pages.values()].slice(-2).includes(body), `${body}: ${where}`);
      await server.start();
      await check(server, me, pages).catch((error: Error) => {
        throw new Error(`${error.message}\n${where}`, { cause: error });
      });
      // Killed before it was received: the same push goes well now. Else there is nothing left to do.
      const again = await me.push();
      assert.equal(again.status, 0, `${again.raw}\n${where}`);
      await check(server, me, pages);
    }
    t.diagnostic(`${round} kills`);
  });
});
