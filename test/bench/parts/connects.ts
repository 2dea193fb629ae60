import { CURVE25519, type Part } from '../bench.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, type Row } from '../report.ts';

const CONNECTS = 30;
/** A delayed acknowledgement costs 40 ms; less is the machine's own unrest. */
const STEP_MS = 35;

/** Login and start of git alone: no connection may wait for a delayed acknowledgement. */
export const connects: Part = {
  name: 'connects',
  async run({ client, dinp, sshd }) {
    await dinp.create('connects');
    await sshd.create('connects');
    const timings = await interleave(CONNECTS, {
      theirs: () => client.connect(sshd.user, sshd.port, sshd.path('connects'), CURVE25519),
      ours: () => client.connect(dinp.user, dinp.port, 'connects', CURVE25519),
    });
    const steps = (values: number[]) => values.filter((value) => value > Math.min(...values) + STEP_MS).length;
    const ours = steps(timings.ours);
    const row: Row = {
      what: `connects with a step of 40 ms, of ${CONNECTS}`,
      against: 'sshd',
      theirs: String(steps(timings.theirs)),
      ours: String(ours),
      ratio: '',
      target: 'none',
      met: ours === 0,
    };
    const ratio = pairedRatio(timings.ours, timings.theirs);
    const values = { theirs: median(timings.theirs), ours: median(timings.ours), ratio };
    return [compared('connect', 'sshd, client with curve25519', values), row];
  },
};
