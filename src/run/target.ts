import type { InstanceSpec, RunningInstance } from '../domain/instance.ts';

/** One line of an instance's output. */
export interface LogLine {
  instance: string;
  /** Milliseconds since the epoch, where the engine knows. */
  time: number | undefined;
  text: string;
}

export interface LogOptions {
  /** Last lines per instance to begin with. */
  tail: number;
  follow: boolean;
  signal: AbortSignal;
}

/** Streams of a one-off command or of a command inside an instance. */
export interface ExecStreams {
  stdin: AsyncIterable<Uint8Array> | undefined;
  onStdout(chunk: Uint8Array): void | Promise<void>;
  onStderr(chunk: Uint8Array): void | Promise<void>;
  signal: AbortSignal;
}

/** A TCP socket that waits for connections, as seen from inside an instance. */
export interface Listener {
  /** `0.0.0.0`, `127.0.0.1`, `::`, … */
  address: string;
  port: number;
}

export interface PlaceOptions {
  /** Whether instances that cannot stay where they are get another host. */
  moving: boolean;
  /** Told which hosts cannot be used, and why. */
  onProgress(line: string): void;
}

/**
 * What keeps instances running: the Docker Engine itself, systemd units, or (emit) somebody who takes the files.
 * Every call is safe to repeat: a pipeline that died half way runs again.
 */
export interface Target {
  readonly name: string;
  /** false for `emit`: there is nothing to start, check or route. */
  readonly runs: boolean;
  /** true: the engine itself decides where instances are, and moves them. One that has no place yet cannot be reached. */
  readonly schedules?: boolean;
  /** true: the engine runs health commands, and one that has passed makes an instance `running`. */
  readonly runsHealthCommands?: boolean;
  /**
   * Makes the image present and starts one instance beside whatever runs; returns once the engine has accepted it,
   * not once it is healthy. The same instance that already runs is left as it is; one that has only its name is replaced.
   * @throws DinpError start-failed or unavailable
   */
  start(spec: InstanceSpec, options: { onProgress(line: string): void; signal: AbortSignal }): Promise<void>;
  /**
   * Stops instances (SIGTERM, then SIGKILL after stopMs) and removes all that is left of them. Unknown names are fine.
   * With `host` only from there: an instance that moved is on two for a while.
   */
  remove(instances: { name: string; stopMs: number; host?: string | undefined }[]): Promise<void>;
  /**
   * Of a target with several hosts: decides which instance goes where, and keeps that; with `moving` also for those that
   * cannot stay where they are.
   * @returns the ports that others hold there, for each instance that was given a host now
   * @throws DinpError unavailable
   */
  place?(specs: InstanceSpec[], options: PlaceOptions): Promise<Map<string, ReadonlySet<number>>>;
  /**
   * Where an instance should be; undefined for this machine. Without `host` where the engine itself decides that: then it
   * is where it was when it was last looked for, by `place`, `list` or `find`.
   */
  placeOf?(instance: string): { host?: string; address: string } | undefined;
  /** Undoes moves that came to nothing: what was started elsewhere goes, and its host is the one before again. */
  moveBack?(instances: { name: string; stopMs: number }[]): Promise<void>;
  /** Forgets where instances of an app should be, but for these; what a host that does not answer has is remembered. */
  forgetPlaces?(app: string, keep: string[]): void;
  /** What of this server's instances is really there, of one app or of all. @throws DinpError unavailable, never an empty list for an engine that does not answer */
  list(app?: string): Promise<RunningInstance[]>;
  /** One instance as `list` gives it, where the engine can say that cheaper than by listing. */
  find?(instance: string): Promise<RunningInstance | undefined>;
  /** The TCP sockets that an instance listens on; undefined where that cannot be seen. */
  listeners?(instance: string): Promise<Listener[] | undefined>;
  logs(instances: string[], options: LogOptions): AsyncIterable<LogLine>;
  /** Runs a command inside a running instance; resolves to its exit status. */
  exec(instance: string, command: string[], streams: ExecStreams): Promise<number>;
  /** Runs a command once in a fresh container of the instance's image, environment and volumes, without its port. Resolves to its exit status. */
  runOnce(spec: InstanceSpec, command: string[], streams: ExecStreams): Promise<number>;
  /** Restarts instances in place. */
  restart(instances: { name: string; stopMs: number }[]): Promise<void>;
  /** Removes what one-off commands of a server that died left behind; called at start, before anything is run. */
  removeLeftovers?(): Promise<void>;
  /** Removes a named volume and its data. */
  removeVolume(volume: string): Promise<void>;
}
