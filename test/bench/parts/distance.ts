import { openDelayedPath } from '../../support/delayed-path.ts';
import type { Part } from '../bench.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, megabytes, type Row } from '../report.ts';
import { addLargeCommit } from '../source.ts';

const ROUND_TRIP_MS = 80;
const LIMIT = 1 / 3;

/** A large pack over a long path: how much SSH lets be under way. */
export const distance: Part = {
  name: 'distance',
  async run(bench) {
    const { client, source, dinp, sshd } = bench;
    const bytes = bench.quick ? 50e6 : 200e6;
    bench.progress(`making a commit of ${megabytes(bytes)}`);
    const sha = await addLargeCommit(source, bytes);
    await using toOurs = await openDelayedPath(dinp.port, ROUND_TRIP_MS);
    await using toTheirs = await openDelayedPath(sshd.port, ROUND_TRIP_MS);
    let made = 0;
    const timings = await interleave(
      bench.quick ? 1 : 3,
      {
        theirs: async () => {
          const name = `far-${++made}`;
          await sshd.create(name, 'ours');
          const { ms } = await client.push(sshd.url(name, toTheirs.port), sha);
          sshd.remove(name);
          return ms;
        },
        ours: async () => {
          const name = `far-${++made}`;
          await dinp.create(name);
          const { ms } = await client.push(dinp.url(name, toOurs.port), sha);
          dinp.remove(name);
          return ms;
        },
      },
      false,
    );
    const theirs = median(timings.theirs);
    const ours = median(timings.ours);
    const ratio = pairedRatio(timings.ours, timings.theirs);
    const what = `push of ${megabytes(bytes)}, round trip ${ROUND_TRIP_MS} ms`;
    const rate = (ms: number) => `${(bytes / 1e3 / ms).toFixed(0)} MB/s`;
    const rates: Row = {
      what: 'the same as a rate, with login and git',
      against: '',
      theirs: rate(theirs),
      ours: rate(ours),
      ratio: `${(1 / ratio).toFixed(1)}×`,
      target: '≥ 3.0×',
      met: ratio <= LIMIT,
    };
    return [compared(what, "sshd, a repository with dinp's settings", { theirs, ours, ratio }), rates];
  },
};
