import { CURVE25519, type Part } from '../bench.ts';
import { interleave, median, pairedRatio } from '../pairs.ts';
import { compared, type Row } from '../report.ts';
import { openWatchedPath, type WatchedPath } from '../watched-path.ts';

const CONNECTS = 30;
/** A delayed acknowledgement costs 40 ms; less is the machine's own unrest. */
const STEP_MS = 35;

/** Login and start of git alone. No connection may wait for a delayed acknowledgement: nothing is said for 40 ms then. */
export const connects: Part = {
  name: 'connects',
  async run({ client, dinp, sshd }) {
    await dinp.create('connects');
    await sshd.create('connects');
    await using toTheirs = await openWatchedPath(sshd.port);
    await using toOurs = await openWatchedPath(dinp.port);
    const timings = await interleave(
      CONNECTS,
      {
        theirs: () => client.connect(sshd.user, toTheirs.port, sshd.path('connects'), CURVE25519),
        ours: () => client.connect(dinp.user, toOurs.port, 'connects', CURVE25519),
      },
      false,
    );
    const steps = ({ silences }: WatchedPath) => silences.filter((silence) => silence > STEP_MS).length;
    const ours = steps(toOurs);
    const row: Row = {
      what: `connects with a step of 40 ms, of ${CONNECTS}`,
      against: 'sshd',
      theirs: String(steps(toTheirs)),
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
