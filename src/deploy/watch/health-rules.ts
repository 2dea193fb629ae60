import type { HealthCheck } from '../../domain/process.ts';
import type { Look } from '../../run/look.ts';

/** What is known of an instance of a live release. All times are milliseconds since the epoch. */
export interface Health {
  /** When its present run began, as its engine says; what follows is of this run unless it says otherwise. */
  startedAt: number | undefined;
  /** Until then it may be unhealthy, for it may be starting; over with the first healthy look. */
  graceUntil: number;
  /** Whether any look of this run found it healthy. */
  proven: boolean;
  /** Unhealthy looks in a row. */
  failures: number;
  /** What the last look found wrong. */
  problem: string | undefined;
  /** Since when it counts as failing, also over restarts; undefined: it does not. */
  failingSince: number | undefined;
  /** Since when it is healthy; undefined where it is not known to be. */
  healthySince: number | undefined;
  /** How often it was restarted by us since it was last healthy for long. */
  restarts: number;
  /** When it is restarted unless it is healthy by then; undefined where its engine does so, or it is in its grace. */
  nextTry: number | undefined;
  /** When its engine started it anew, the newest last. */
  crashes: readonly number[];
}

/** The first restart is at once; the pauses before the next ones double. As the kubelet has them. */
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** Who was healthy for so long begins with no pause again. */
const LASTING_MS = 10 * 60_000;
/** So many crashes within so long are no accident any more. */
const CRASHES = 3;
const CRASH_WINDOW_MS = 5 * 60_000;

/** Milliseconds from the moment that an instance is found failing to its next restart, after so many restarts before. */
export function pauseBefore(restarts: number): number {
  return restarts === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (restarts - 1), LONGEST_PAUSE_MS);
}

/** An instance that is seen for the first time: it has the traffic, and may still be starting. */
export function firstSeen(startedAt: number | undefined, check: HealthCheck): Health {
  return {
    startedAt,
    graceUntil: (startedAt ?? 0) + check.startMs,
    proven: false,
    failures: 0,
    problem: undefined,
    failingSince: undefined,
    healthySince: undefined,
    restarts: 0,
    nextTry: undefined,
    crashes: [],
  };
}

/** It was started anew, by its engine or anybody else: it gets its time to start again, unless it was healthy since. */
export function startedAnew(health: Health, startedAt: number, check: HealthCheck): Health {
  if (health.healthySince !== undefined && health.healthySince >= startedAt) return { ...health, startedAt };
  return {
    ...health,
    startedAt,
    graceUntil: startedAt + check.startMs,
    proven: false,
    failures: 0,
    healthySince: undefined,
    nextTry: undefined,
  };
}

/** Its engine says that it was started again so often since it was last seen. */
export function crashed(health: Health, times: number, now: number): Health {
  const crashes = [...health.crashes, ...Array.from({ length: Math.min(times, CRASHES) }, () => now)];
  return { ...health, crashes: crashes.filter((at) => now - at < CRASH_WINDOW_MS).slice(-CRASHES) };
}

/** What is known after a look. One that found out nothing changes nothing. */
export function afterLook(health: Health, look: Look, check: HealthCheck, now: number): Health {
  if (look.kind === 'unknown') return health;
  const crashes = health.crashes.filter((at) => now - at < CRASH_WINDOW_MS);
  if (crashes.length >= CRASHES) {
    const problem = `crashed ${CRASHES} times within ${CRASH_WINDOW_MS / 60_000} minutes`;
    return failing({ ...health, crashes }, look.kind === 'failing' && look.down ? look.problem : problem, now);
  }
  if (look.kind === 'healthy') return healthy({ ...health, crashes }, now);
  const { problem } = look;
  const failures = health.failures + 1;
  const seen = { ...health, crashes, failures, problem, healthySince: undefined };
  if (look.down) return failing(seen, problem, now);
  const mayStart = !health.proven && now < health.graceUntil;
  if (mayStart || failures < check.retries) return seen;
  return { ...failing(seen, problem, now), nextTry: health.nextTry ?? now + pauseBefore(health.restarts) };
}

/** What is known once it was restarted by us. The try counts also where the restart itself failed. */
export function afterRestart(health: Health, check: HealthCheck, now: number): Health {
  return {
    ...health,
    graceUntil: now + check.startMs,
    proven: false,
    failures: 0,
    restarts: health.restarts + 1,
    nextTry: undefined,
  };
}

/** Whether visitors are better led elsewhere: it fails, or it starts and does not answer yet. */
export function isOut(health: Health): boolean {
  return health.failingSince !== undefined || (!health.proven && health.failures > 0);
}

/** Of the instances that visitors can be led to, those that are not out; where all are, all: nobody is left without any. */
export function chooseRoutable<T>(instances: readonly T[], healthOf: (instance: T) => Health | undefined): T[] {
  const fit = instances.filter((instance) => {
    const health = healthOf(instance);
    return health === undefined || !isOut(health);
  });
  return fit.length > 0 ? fit : [...instances];
}

/**
 * Which instance of a process is to be restarted now: one at a time, so that a process whose instances all fail is
 * never gone as a whole. Undefined while another one has its time to start after a restart.
 * @param instances all instances of the process
 */
export function nextRestart(instances: ReadonlyMap<string, Health>, now: number): string | undefined {
  const all = [...instances];
  const isStarting = ({ failingSince, nextTry, restarts, graceUntil }: Health) =>
    failingSince !== undefined && nextTry === undefined && restarts > 0 && now < graceUntil;
  if (all.some(([, health]) => isStarting(health))) return undefined;
  const due = all.filter(([, { nextTry }]) => nextTry !== undefined && nextTry <= now);
  return due.sort(([, a], [, b]) => a.nextTry! - b.nextTry!)[0]?.[0];
}

function healthy(health: Health, now: number): Health {
  const since = health.healthySince ?? now;
  return {
    ...health,
    proven: true,
    failures: 0,
    problem: undefined,
    failingSince: undefined,
    healthySince: since,
    restarts: now - since >= LASTING_MS ? 0 : health.restarts,
    nextTry: undefined,
  };
}

function failing(health: Health, problem: string, now: number): Health {
  return {
    ...health,
    problem,
    failures: Math.max(1, health.failures),
    failingSince: health.failingSince ?? now,
    healthySince: undefined,
    nextTry: undefined,
  };
}
