import { Agent } from 'node:http';
import { fileURLToPath } from 'node:url';
import { CaddyRouter } from '../../../src/router/caddy.ts';
import { RouterGroup } from '../../../src/router/router-group.ts';
import { freePorts, startCaddy } from '../../support/caddy.ts';
import { askOnce, Load } from '../../support/load.ts';
import { startBackend } from './backend.ts';

export interface LoadResult {
  requests: number;
  failures: string[];
  /** Answers of a release that had been replaced when they were asked for. */
  stale: string[];
  /** Duration of each swap, milliseconds. */
  swaps: number[];
}

const RELEASES = 10;

/** Replaces and kills an app's instance again and again while clients ask for it in all ways. */
async function swapUnderLoad(): Promise<LoadResult> {
  await using caddy = await startCaddy();
  const [shared, port, another] = (await freePorts(3)) as [number, number, number];
  const options = { admin: caddy.admin, owner: 'me', listen: `127.0.0.1:${shared}`, bind: '127.0.0.1' };
  const router = new RouterGroup([new CaddyRouter(options)]);
  const blog = (address: string) => ({ app: 'blog', hosts: ['blog.localhost'], port, upstreams: [address] });
  const targets = [
    { host: '127.0.0.1', port },
    { host: '127.0.0.1', port: shared, headers: { host: 'blog.localhost' } },
  ];
  let live = await startBackend('release-0');
  await router.setRoute(blog(live.address));
  const load = new Load(targets, { clients: 4, pauseMs: 2, isGood: (body) => body.startsWith('release-') });
  const swaps: number[] = [];
  const stale: string[] = [];
  for (let release = 1; release <= RELEASES; release++) {
    const replaced = live;
    live = await startBackend(`release-${release}`);
    const begun = performance.now();
    await router.setRoute(blog(live.address));
    swaps.push(performance.now() - begun);
    for (const target of targets) {
      const answer = await askOnce({ ...target, agent: new Agent() });
      if (answer !== `release-${release}`) stale.push(answer);
    }
    await router.drain([replaced.address], { maxMs: 10_000, signal: new AbortController().signal });
    // It dies at once, as apps do that have no handler for SIGTERM.
    await replaced.kill();
  }
  // Other apps come and go meanwhile.
  await router.setRoute({ app: 'shop', hosts: ['shop.localhost'], port: another, upstreams: [live.address] });
  await router.removeRoute('shop');
  await load.stop();
  await live.kill();
  return { requests: load.requests, failures: load.failures, stale, swaps };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await swapUnderLoad()));
