import { type Bench, CURVE25519, type Part } from '../bench.ts';
import { interleave, median, pairedRatio, type Timings } from '../pairs.ts';
import { compared, type Row } from '../report.ts';

const HOOK_TEXT = 'hook was here';
/** The least that a hook can do under sshd; gitreceive starts several programs before it gets there. */
const HOOK = `#!/bin/sh\necho '${HOOK_TEXT}'\nexit 0\n`;

/** A push of one changed file, and one of nothing. */
export const push: Part = {
  name: 'push',
  async run(bench) {
    const rounds = bench.quick ? 5 : 20;
    await createEach(bench, ['push', 'push-curve']);
    const small = await compare(bench, rounds, () => bench.source.next());
    expectBuilds(bench, 'push', rounds + 1);
    const tip = bench.source.next();
    await compare(bench, 0, () => tip);
    const none = await compare(bench, rounds, () => tip);
    return [...rows('small push', small, 0.25), ...rows('no-op push', none, 0.2)];
  },
};

/** From the start of `git push` to the first line that the server's side says about it. */
export const firstOutput: Part = {
  name: 'first-output',
  async run(bench) {
    const { client, source, dinp, sshd } = bench;
    await dinp.create('hooked');
    await sshd.create('hooked', 'stock', HOOK);
    const seen = async (url: string, sha: string, awaited: string) => {
      const { seenMs, stderr } = await client.push(url, sha, { awaited });
      if (seenMs === undefined) throw new Error(`"${awaited}" is not in the output of a push:\n${stderr}`);
      return seenMs;
    };
    const timings = await interleave(bench.quick ? 5 : 15, {
      theirs: () => seen(sshd.url('hooked'), source.next(), HOOK_TEXT),
      ours: () => seen(dinp.url('hooked'), source.next(), 'Stored '),
    });
    const ratio = pairedRatio(timings.ours, timings.theirs);
    const values = { theirs: median(timings.theirs), ours: median(timings.ours), ratio, limit: 0.35 };
    return [compared('first output of a push', 'sshd, a pre-receive hook of one echo', values)];
  },
};

type Subject = 'theirs' | 'ours' | 'theirsCurve' | 'oursCurve';

async function createEach({ dinp, sshd }: Bench, names: string[]): Promise<void> {
  for (const name of names) {
    await dinp.create(name);
    await sshd.create(name);
  }
}

function compare(bench: Bench, rounds: number, commit: () => string): Promise<Timings<Subject>> {
  const { client, dinp, sshd } = bench;
  const time = async (url: string, ssh?: string[]) =>
    (await client.push(url, commit(), ssh === undefined ? {} : { ssh })).ms;
  return interleave(rounds, {
    theirs: () => time(sshd.url('push')),
    ours: () => time(dinp.url('push')),
    theirsCurve: () => time(sshd.url('push-curve'), CURVE25519),
    oursCurve: () => time(dinp.url('push-curve'), CURVE25519),
  });
}

function rows(what: string, timings: Timings<Subject>, limit: number): Row[] {
  const line = (theirs: Subject, ours: Subject, against: string, most: number) =>
    compared(what, against, {
      theirs: median(timings[theirs]),
      ours: median(timings[ours]),
      ratio: pairedRatio(timings[ours], timings[theirs]),
      limit: most,
    });
  return [
    line('theirs', 'ours', 'sshd, default client', limit),
    line('theirsCurve', 'oursCurve', 'sshd, client with curve25519', 0.6),
  ];
}

/** A push that left no row in the database would be no push. */
export function expectBuilds({ dinp }: Pick<Bench, 'dinp'>, app: string, count: number): void {
  const builds = dinp.countBuilds(app);
  if (builds !== count) throw new Error(`${app} has ${builds} build rows after ${count} pushes`);
}
