import type { Bench, Part } from '../bench.ts';
import { watchGitMemory } from '../git-memory.ts';
import { forgetPeak, peakMemory } from '../machine.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, megabytes } from '../report.ts';
import { addLargeCommit } from '../source.ts';

const GIT_LIMIT = 16e6;
const SERVING_LIMIT = 120e6;

/** One file of 500 MB: what the receiving side does with a large pack. */
export const large: Part = {
  name: 'large',
  async run(bench) {
    const { client, source, dinp, sshd } = bench;
    const bytes = bench.quick ? 100e6 : 500e6;
    const size = megabytes(bytes);
    bench.progress(`making a commit of ${size}`);
    const sha = await addLargeCommit(source, bytes);
    const memory = { theirs: 0, theirsOurSettings: 0, ours: 0 };
    for (const pid of dinp.workers()) forgetPeak(pid);
    let serving = 0;
    const run = async (name: keyof typeof memory, server: Bench['dinp'] | Bench['sshd'], app: string) => {
      const push = () => client.push(server.url(app), sha);
      const { result, bytes: peak } = await watchGitMemory(server.path(app), push);
      memory[name] = Math.max(memory[name], peak);
      server.remove(app);
      return result.ms;
    };
    let made = 0;
    const fresh = async (settings: 'stock' | 'ours') => {
      const name = `large-${++made}`;
      await sshd.create(name, settings);
      return name;
    };
    const timings = await interleave(
      bench.quick ? 1 : 3,
      {
        theirs: async () => run('theirs', sshd, await fresh('stock')),
        ours: async () => {
          const name = `large-${++made}`;
          await dinp.create(name);
          const ms = await run('ours', dinp, name);
          serving = Math.max(serving, ...dinp.workers().map(peakMemory));
          return ms;
        },
        theirsOurSettings: async () => run('theirsOurSettings', sshd, await fresh('ours')),
      },
      false,
    );
    const line = (theirs: 'theirs' | 'theirsOurSettings', against: string, limit: number) =>
      compared(`push of ${size}`, against, {
        theirs: median(timings[theirs]),
        ours: median(timings.ours),
        ratio: pairedRatio(timings.ours, timings[theirs]),
        limit,
      });
    return [
      line('theirs', 'sshd, a repository as git makes it', 0.35),
      line('theirsOurSettings', "sshd, a repository with dinp's settings", 1),
      {
        what: `memory of the receiving git, ${size}`,
        against: 'a repository as git makes it',
        theirs: megabytes(memory.theirs),
        ours: megabytes(memory.ours),
        ratio: '',
        target: `≤ ${megabytes(GIT_LIMIT)}`,
        met: memory.ours <= GIT_LIMIT,
      },
      {
        what: `memory of a serving process, ${size}`,
        against: '',
        theirs: '',
        ours: megabytes(serving),
        ratio: '',
        target: `≤ ${megabytes(SERVING_LIMIT)}`,
        met: serving <= SERVING_LIMIT,
      },
    ];
  },
};
