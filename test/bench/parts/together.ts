import type { Bench, Part } from '../bench.ts';
import { forgetPeak, peakMemory } from '../machine.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, megabytes, type Row } from '../report.ts';
import { expectBuilds } from './push.ts';

const SERVING_LIMIT = 120e6;

/** Many pushes at once, each of another commit to an app of its own. */
export const together: Part = {
  name: 'together',
  async run(bench) {
    return [...(await many(bench, 50, bench.quick ? 1 : 3)), ...(await many(bench, 200, bench.quick ? 1 : 3))];
  },
};

async function many(bench: Bench, count: number, rounds: number): Promise<Row[]> {
  const { client, source, dinp, openSshd, sshd } = bench;
  const names = Array.from({ length: count }, (_, i) => `of-${count}-${i}`);
  bench.progress(`making ${count} repositories, twice`);
  for (const name of names) {
    await dinp.create(name);
    await openSshd.create(name);
  }
  for (const pid of dinp.workers()) forgetPeak(pid);
  const pushAll = async (url: (name: string) => string) => {
    const { ms, failures } = await client.pushAll(names.map(url), source.next());
    if (failures.length > 0) throw new Error(`${failures.length} of ${count} pushes at once failed:\n${failures[0]}`);
    return ms;
  };
  const timings = await interleave(rounds, {
    theirs: () => pushAll((name) => openSshd.url(name)),
    ours: () => pushAll((name) => dinp.url(name)),
  });
  for (const name of names) expectBuilds(bench, name, rounds + 1);
  const peak = Math.max(...dinp.workers().map(peakMemory));
  const { failures } = await client.pushAll(
    names.map((name) => openSshd.url(name, sshd.port)),
    source.next(),
  );
  const ratio = pairedRatio(timings.ours, timings.theirs);
  return [
    compared(`${count} pushes at once`, 'sshd, MaxStartups raised', {
      theirs: median(timings.theirs),
      ours: median(timings.ours),
      ratio,
      ...(count === 200 ? { limit: 0.4 } : {}),
    }),
    {
      what: `refused of ${count} pushes at once`,
      against: 'sshd as it is by default',
      theirs: String(failures.length),
      ours: '0',
      ratio: '',
      target: 'none',
      met: true,
    },
    {
      what: `memory of a serving process, ${count} at once`,
      against: '',
      theirs: '',
      ours: megabytes(peak),
      ratio: '',
      target: `≤ ${megabytes(SERVING_LIMIT)}`,
      met: peak <= SERVING_LIMIT,
    },
  ];
}
