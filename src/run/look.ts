import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';
import { checkCommand } from './check-command.ts';
import { probeHttp, probeTcp, type Verdict } from './probe.ts';
import type { Target } from './target.ts';

/**
 * What one look at an instance of a live release found. `down`: it does not run, so that no check is needed to know.
 * `unknown`: neither its engine nor the instance could be asked.
 */
export type Look =
  | { kind: 'healthy' }
  | { kind: 'failing'; problem: string; down: boolean }
  | { kind: 'unknown'; problem: string };

const HEALTHY: Look = { kind: 'healthy' };

/**
 * Looks once at an instance by its health check, at the published port: the way the router goes, too.
 * @param instance as its target listed it; undefined where it was not listed
 */
export async function lookAt(
  target: Target,
  spec: InstanceSpec,
  instance: RunningInstance | undefined,
  signal: AbortSignal,
): Promise<Look> {
  const state = instance?.state;
  const isAway = state === 'unreachable';
  if (!isAway) {
    const problem = whyDown(instance);
    if (problem !== undefined) return { kind: 'failing', problem, down: true };
  }
  const { kind, path = '/', contains, timeoutMs, command } = spec.health;
  const address = spec.port && { host: spec.port.address ?? '127.0.0.1', port: spec.port.host };
  if (kind === 'http' && address) {
    const options = { path, contains, hostHeader: undefined, timeoutMs, behindProxy: true };
    return fromVerdict(await probeHttp(address, options));
  }
  const byImage = kind === 'auto' && !isAway && instance !== undefined ? imageVerdict(instance) : undefined;
  if (byImage !== undefined) return byImage;
  // Of an instance that nobody can run a command in, its port is all that can be seen.
  const byPort = isAway || kind === 'tcp' || (kind === 'auto' && !hasOwnCheck(instance));
  if (byPort && address) return fromVerdict(await probeTcp(address, { timeoutMs, behindProxy: true }));
  if (isAway) return { kind: 'unknown', problem: 'its host does not answer' };
  const argv =
    kind === 'command' ? ['sh', '-c', command ?? 'true'] : kind === 'auto' ? instance?.healthCommand : undefined;
  if (argv === undefined) return HEALTHY;
  return await byCommand(target, spec, argv, kind === 'command' ? 'its health command' : 'its HEALTHCHECK', signal);
}

async function byCommand(
  target: Target,
  { name, health }: InstanceSpec,
  argv: string[],
  what: string,
  signal: AbortSignal,
): Promise<Look> {
  try {
    const result = await checkCommand(target, name, argv, { timeoutMs: health.timeoutMs, signal });
    if (result.kind === 'passed') return HEALTHY;
    const why = result.kind === 'timeout' ? ' (it took too long)' : result.said;
    return { kind: 'failing', problem: `did not pass ${what}${why}`, down: false };
  } catch (error) {
    return { kind: 'unknown', problem: (error as Error).message };
  }
}

/** Why an instance cannot answer anybody, where that is known without asking it. */
function whyDown(instance: RunningInstance | undefined): string | undefined {
  if (instance === undefined) return 'is not there';
  if (instance.problem !== undefined) return instance.problem;
  const status = instance.exitCode === undefined ? '' : ` with status ${instance.exitCode}`;
  const memory = instance.outOfMemory ? ', out of memory' : '';
  if (instance.state === 'exited') return `exited${status}${memory}`;
  if (instance.state === 'restarting') return `exited${status}${memory}, and is started again and again`;
  return undefined;
}

/** The engine's own verdict, where the image has a HEALTHCHECK and there is one already. */
function imageVerdict({ healthy }: RunningInstance): Look | undefined {
  if (healthy === undefined) return undefined;
  return healthy ? HEALTHY : { kind: 'failing', problem: 'failed its HEALTHCHECK', down: false };
}

/** The image has a HEALTHCHECK whose verdict is not there yet. */
function hasOwnCheck(instance: RunningInstance | undefined): boolean {
  return instance?.state === 'starting' && instance.healthCommand !== undefined;
}

function fromVerdict(verdict: Verdict): Look {
  if (verdict.kind === 'healthy') return HEALTHY;
  const problem = verdict.kind === 'unhealthy' ? verdict.problem : 'could not be reached';
  return { kind: 'failing', problem, down: false };
}
