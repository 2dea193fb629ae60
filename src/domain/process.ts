/** How an instance is found to be healthy before it gets traffic. Times in milliseconds. */
export interface HealthCheck {
  /** auto: a port must accept TCP; without a port the instance must stay up for 10 s; an image's HEALTHCHECK counts. */
  kind: 'auto' | 'http' | 'tcp' | 'command' | 'none';
  /** Absolute path for http. */
  path?: string;
  /** Text that the http body must contain. */
  contains?: string;
  /** Shell command run inside the instance for kind command; exit 0 is healthy. */
  command?: string;
  intervalMs: number;
  timeoutMs: number;
  /** Failures in a row, after `startMs`, that make it unhealthy. */
  retries: number;
  /** How long an instance may take to become healthy at first. */
  startMs: number;
}

export const DEFAULT_HEALTH: HealthCheck = {
  kind: 'auto',
  intervalMs: 5_000,
  timeoutMs: 3_000,
  retries: 3,
  startMs: 60_000,
};

/** A named command of an app; part of a release, immutable. */
export interface Process {
  /** `web`, `worker`; only `web` gets a route. */
  name: string;
  /** argv run in the container; undefined means the image's own command. */
  command: string[] | undefined;
  /** How many instances where no one has scaled it. */
  instances: number;
  memoryBytes: number;
  /** Container port it listens on (also given as PORT); undefined for processes without one. */
  port: number | undefined;
  health: HealthCheck;
  /** SIGTERM to SIGKILL, milliseconds. */
  stopMs: number;
  /** Volume name to absolute path in the container; kept across releases. */
  volumes: Record<string, string>;
}
