import type { Build } from '../../domain/build.ts';
import type { InstanceSpec } from '../../domain/instance.ts';
import type { Release, ReleaseCause } from '../../domain/release.ts';
import { branchOf, commitOf, describeSource, type Source } from '../../domain/source.ts';
import type { Health } from './health-rules.ts';
import type { Reached } from './reach.ts';

/** Something that operators want to be told. No config value is ever in one. */
export interface ServerEvent {
  /** `deploy.succeeded`, `instance.failing`, … */
  event: string;
  /** The whole event in a line for people. */
  text: string;
  /** Undefined for what is of no single app. */
  app: string | undefined;
  /** What belongs to this kind of event, under the kind's name. */
  more: Record<string, unknown>;
}

/** How a build ended; undefined for those that nobody waits for any more (canceled, superseded). */
export function buildEvent(build: Build): ServerEvent | undefined {
  if (build.state !== 'succeeded' && build.state !== 'failed') return undefined;
  return deployEvent(build.app, {
    cause: 'deploy',
    build: build.number,
    release: build.release,
    source: build.source,
    by: build.by,
    reason: build.state === 'failed' ? (build.reason ?? 'it is not known why') : undefined,
  });
}

/** How the rollout of a release ended that no build made: a rollback, or changed config. */
export function releaseEvent(release: Release, reason: string | undefined): ServerEvent {
  const { app, cause, number, source, by } = release;
  return deployEvent(app, { cause, build: undefined, release: number, source, by, reason });
}

/** An instance that fails now, or that is healthy again. */
export function instanceEvent(spec: InstanceSpec, health: Health): ServerEvent {
  const failing = health.failingSince !== undefined;
  const label = `${spec.process}.${spec.index}`;
  return {
    event: failing ? 'instance.failing' : 'instance.recovered',
    text: failing ? `${spec.app}: ${label} fails: it ${health.problem}` : `${spec.app}: ${label} is healthy again`,
    app: spec.app,
    more: {
      instance: {
        name: spec.name,
        process: spec.process,
        index: spec.index,
        release: spec.release,
        host: spec.host ?? null,
        problem: health.problem ?? null,
        restarts: health.restarts,
      },
    },
  };
}

/** A target, host or router that does not answer, or that does again (no problem). */
export function reachEvent(kind: Reached, name: string, problem: string | undefined): ServerEvent {
  const who = kind === 'router' ? 'the router' : `the ${kind} ${name}`;
  return {
    event: `${kind}.${problem === undefined ? 'back' : 'unreachable'}`,
    text: problem === undefined ? `${who} answers again` : `${who} does not answer: ${problem}`,
    app: undefined,
    more: { [kind]: { name, problem: problem ?? null } },
  };
}

interface Deploy {
  cause: ReleaseCause;
  build: number | undefined;
  release: number | undefined;
  source: Source;
  by: string;
  reason: string | undefined;
}

function deployEvent(app: string, { cause, build, release, source, by, reason }: Deploy): ServerEvent {
  const what = `${describeSource(source)}${cause === 'deploy' ? '' : `, ${cause}`}, by ${by}`;
  return {
    event: reason === undefined ? 'deploy.succeeded' : 'deploy.failed',
    text: reason === undefined ? `${app}: v${release} is live (${what})` : `${app}: deploy failed (${what}): ${reason}`,
    app,
    more: {
      deploy: {
        cause,
        build: build ?? null,
        release: release ?? null,
        source: describeSource(source),
        commit: commitOf(source) ?? null,
        branch: branchOf(source) ?? null,
        by,
        reason: reason ?? null,
      },
    },
  };
}
