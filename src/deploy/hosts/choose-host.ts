import { DinpError } from '../../domain/errors.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import { mayBuild, type RunHost } from '../../domain/run-host.ts';

/** A host that answers, and what it has left. */
export interface Candidate {
  host: RunHost;
  /** Bytes; lessened here by what was given away. */
  memoryAvailable: number;
  /** TCP ports that something there has. */
  ports: ReadonlySet<number>;
  /** Instances that it was given, by process and release: `blog web 3`. */
  instances: Map<string, number>;
}

/** Whether an app may run on a host: dinp.yml names hosts or labels (`zone=a`), any of which will do; none: all hosts but those that build. */
export function mayRunOn(host: RunHost, wishes: readonly string[]): boolean {
  if (wishes.length === 0) return !mayBuild(host);
  return wishes.some((wish) => {
    const at = wish.indexOf('=');
    return at === -1 ? wish === host.name : host.labels[wish.slice(0, at)] === wish.slice(at + 1);
  });
}

/**
 * The host for one more instance: of those whose free memory holds it (of all, where none does) that with the fewest of
 * the same process and release, so that the loss of one takes the least; of those the one with the most free memory. The
 * candidate is told of its new instance.
 */
export function chooseHost(spec: InstanceSpec, candidates: readonly Candidate[]): RunHost {
  const kind = kindOf(spec);
  const count = ({ instances }: Candidate) => instances.get(kind) ?? 0;
  const lacks = ({ memoryAvailable }: Candidate) => Number(memoryAvailable < spec.memoryBytes);
  const [best] = [...candidates].sort(
    (a, b) =>
      lacks(a) - lacks(b) ||
      count(a) - count(b) ||
      b.memoryAvailable - a.memoryAvailable ||
      (a.host.name < b.host.name ? -1 : 1),
  );
  if (best === undefined) throw new DinpError('unavailable', 'no host answers.');
  best.instances.set(kind, count(best) + 1);
  best.memoryAvailable -= spec.memoryBytes;
  return best.host;
}

/** What instances of one process and release have in common. */
export function kindOf({ app, process, release }: Pick<InstanceSpec, 'app' | 'process' | 'release'>): string {
  return `${app} ${process} ${release}`;
}
