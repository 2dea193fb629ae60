import { startServer, type TestServer } from '../../support/dinp-server.ts';
import type { GitClient } from '../../support/git-client.ts';
import { SystemdMachine } from '../../support/systemd-host.ts';
import type { Bench, Part } from '../bench.ts';
import { interleave, median } from '../pairs.ts';
import { milliseconds, type Row } from '../report.ts';

type Place = 'here' | 'oneHost' | 'twoHosts';

/** What says where an app runs, in its dinp.yml. */
const PLACES: Record<Place, { what: string; setting: string }> = {
  here: { what: 'on this machine (target docker)', setting: 'target: docker' },
  oneHost: { what: 'on one host over SSH', setting: 'hosts: [h1]' },
  twoHosts: { what: 'on two hosts over SSH', setting: 'hosts: [h1, h2]' },
};

/** From a commit to its traffic: two instances that start beside two others, are checked and get the traffic. */
export const hosts: Part = {
  name: 'hosts',
  async run(bench) {
    await using server = await startServer();
    await using one = await SystemdMachine.boot();
    await using two = await SystemdMachine.boot();
    const key = await server.dinpOk('hosts', 'key');
    for (const [name, machine] of [
      ['h1', one],
      ['h2', two],
    ] as const) {
      await machine.authorize(key);
      await server.dinpOk('hosts', 'add', name, `ssh://root@${await machine.address()}`);
    }
    return await measure(bench, server);
  },
};

async function measure({ quick, progress }: Bench, server: TestServer): Promise<Row[]> {
  const clients = {} as Record<Place, GitClient>;
  for (const place of Object.keys(PLACES) as Place[]) {
    progress(`hosts: a first push ${PLACES[place].what}`);
    clients[place] = await server.client();
    await clients[place].commit({ 'dinp.yml': `${PLACES[place].setting}\ninstances: 2\nmemory: 32M\nstop: 2s\n` });
    await pushPage(server, clients[place], 0);
  }
  let page = 0;
  const push = (place: Place) => () => pushPage(server, clients[place], ++page);
  const rounds = { here: push('here'), oneHost: push('oneHost'), twoHosts: push('twoHosts') };
  progress('hosts: commit to traffic moved');
  const timings = await interleave(quick ? 1 : 5, rounds);
  return (Object.keys(PLACES) as Place[]).map((place) => ({
    what: `one page changed: push to traffic moved, two instances ${PLACES[place].what}`,
    ...{ against: '', theirs: '', ours: milliseconds(median(timings[place])), ratio: '', target: '', met: undefined },
  }));
}

/** Pushes another page. @returns milliseconds from the start of the push until the router sends visitors to it */
async function pushPage(server: TestServer, client: GitClient, page: number): Promise<number> {
  await client.commit(server.quickApp(`page ${page}`));
  const begin = performance.now();
  const push = client.startPush();
  await push.shows('Traffic goes to');
  const moved = performance.now() - begin;
  const { status, output } = await push.ended;
  if (status !== 0) throw new Error(output);
  const { body } = await server.curl(client.app);
  if (body !== `page ${page}\n`) throw new Error(`${client.app} serves "${body}"`);
  return moved;
}
