import { type InstanceSpec, isInstance, type RunningInstance } from '../../domain/instance.ts';

/** One thing of an app that is not as the store has it. */
export interface Difference {
  kind: 'start' | 'stop' | 'move' | 'route' | 'release' | 'change';
  /** For people: `start web.2: it is not there`. */
  text: string;
}

/** An instance as a target listed it. */
export interface Found {
  instance: RunningInstance;
  /** false: on a target that the app ran on before. */
  onLiveTarget: boolean;
}

/**
 * What is to be done so that an app's instances are as planned. An instance on a host that does not answer is neither
 * missing nor stray: nothing is known of it.
 * @param lost whether such an instance has been away for so long that it is to be started elsewhere
 */
export function compareInstances(
  specs: readonly InstanceSpec[],
  found: readonly Found[],
  lost: (instance: RunningInstance) => boolean,
): Difference[] {
  const differences: Difference[] = [];
  const here = found.filter(({ onLiveTarget }) => onLiveTarget).map(({ instance }) => instance);
  for (const spec of specs) {
    const real = findReal(spec, here);
    const label = `${spec.process}.${spec.index} of v${spec.release}`;
    const why = whyStart(spec, real);
    if (why !== undefined) differences.push({ kind: 'start', text: `start ${label}: ${why}` });
    else if (real?.state === 'unreachable' && lost(real))
      differences.push({ kind: 'move', text: `move ${label}: its host ${real.host} does not answer` });
  }
  for (const { instance, onLiveTarget } of found) {
    const isWanted = onLiveTarget && specs.some((spec) => isInstance(instance, spec));
    if (isWanted || instance.state === 'unreachable') continue;
    const { process, index, release, host } = instance;
    const where = host === undefined ? '' : ` on ${host}`;
    differences.push({ kind: 'stop', text: `stop ${process}.${index} of v${release}${where}: it should not run` });
  }
  return differences;
}

/** Why an instance is to be started; undefined where it runs, is started again by its engine, or is out of sight. */
export function whyStart(spec: InstanceSpec, real: RunningInstance | undefined): string | undefined {
  if (real === undefined) return 'it is not there';
  if (real.state === 'unreachable') return undefined;
  if (real.state === 'exited')
    return real.exitCode === undefined ? 'it exited' : `it exited with status ${real.exitCode}`;
  if (real.hostPort !== spec.port?.host)
    return `it has port ${real.hostPort ?? 'none'}, not ${spec.port?.host ?? 'none'}`;
  return undefined;
}

/** What a target listed of an instance, at the place that it was given. */
export function findReal(spec: InstanceSpec, real: readonly RunningInstance[]): RunningInstance | undefined {
  return real.find((instance) => isInstance(instance, spec));
}
