import type { FleetOptions } from './fleet-options.ts';
import type { ImageRef } from './image-ref.ts';
import type { HealthCheck } from './process.ts';

/** One running copy of a process of a release, and all a target needs to run it. */
export interface InstanceSpec {
  /** Unit and container name, `dinp-APP--PROCESS--v3--1` (with `--SERVICE` after APP where the service is not named like the app). */
  name: string;
  app: string;
  release: number;
  service: string;
  process: string;
  /** 1, 2, … within the process. */
  index: number;
  image: ImageRef;
  /** undefined: the image's own command. */
  command: string[] | undefined;
  /** Not secret (the manifest's, PORT): may stand in unit files. */
  env: Record<string, string>;
  /** The operator's config: reaches the process by a file only root reads, or the engine's API; never a unit or argv. */
  secrets: Record<string, string>;
  memoryBytes: number;
  /** Where it listens in the container, and the port of the host that is bound to it on `address`, `127.0.0.1` where none is given. */
  port: { container: number; host: number; address?: string | undefined } | undefined;
  /** Name of the host that it runs on; undefined: this machine. */
  host?: string | undefined;
  /** Hosts that it may run on, names and labels as `zone=a`; none: any. */
  hosts?: readonly string[];
  /** Which machines of fleet it may run on. */
  fleet?: FleetOptions;
  /** Engine volume name to path in the container. */
  volumes: Record<string, string>;
  health: HealthCheck;
  stopMs: number;
}

/** What a target finds really running. */
export interface RunningInstance {
  name: string;
  app: string;
  release: number;
  process: string;
  index: number;
  /** `unreachable`: its host does not answer, so nothing is known of it. */
  state: 'starting' | 'running' | 'restarting' | 'exited' | 'unreachable';
  /** Exit status where it exited. */
  exitCode: number | undefined;
  /** The engine's own HEALTHCHECK verdict, where the image has one. */
  healthy: boolean | undefined;
  startedAt: number | undefined;
  restarts: number;
  /** Host port bound to it. */
  hostPort: number | undefined;
  /** Name of the host that it is on; undefined: this machine. */
  host?: string | undefined;
  /** IP address of the host; undefined: `127.0.0.1`. */
  hostAddress?: string | undefined;
  /** What its engine says keeps it from running, as it goes after its name: `waits for a node: no suitable node`. */
  problem?: string | undefined;
  /** When it last exited, where the engine knows. */
  exitedAt?: number | undefined;
  /** true where the kernel killed it for using more than its memory limit. */
  outOfMemory?: boolean;
  /** Its own IP address, reachable from the engine's machine, where it has one. */
  address?: string | undefined;
  /** argv of the image's HEALTHCHECK, where it has one that may be run by others too. */
  healthCommand?: string[] | undefined;
}

/** Whether what was found is the instance that is meant: the name says so, and the host where it must be a certain one. */
export function isInstance(found: RunningInstance, spec: Pick<InstanceSpec, 'name' | 'host'>): boolean {
  return found.name === spec.name && (spec.host === undefined || spec.host === found.host);
}

/** The name of an instance's unit and container; unique on a host. */
export function instanceName(app: string, service: string, process: string, release: number, index: number): string {
  const middle = service === app ? process : `${service}--${process}`;
  return `dinp-${app}--${middle}--v${release}--${index}`;
}
