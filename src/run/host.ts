/** How a program ended. */
export interface RunResult {
  /** Exit status; 128 + signal number where a signal ended it; 127 where there is no such program. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  stdin?: string;
  /** Milliseconds until it is killed; 60,000 where not given. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Streams of a program that runs for as long as it likes. */
export interface StreamOptions {
  stdin: AsyncIterable<Uint8Array> | undefined;
  /** The next chunk is read once the promise resolves: a slow receiver slows the program down. */
  onStdout(chunk: Uint8Array): void | Promise<void>;
  onStderr(chunk: Uint8Array): void | Promise<void>;
  signal: AbortSignal;
}

/**
 * A machine on the run side: this one, or one that is reached over the network. Programs are given as argv and never
 * pass a shell that could split them. Where a call is aborted, the program and its children are killed.
 */
export interface Host {
  /** For people: `localhost`. */
  readonly name: string;
  /**
   * Writes a file so that it is either whole or not there: temporary file, sync, rename. Missing folders are made.
   * @param mode permissions, from the first byte on
   * @throws DinpError unavailable
   */
  putFile(path: string, text: string, mode: number): Promise<void>;
  /** Removes a file; one that is not there is fine. */
  removeFile(path: string): Promise<void>;
  /**
   * Runs a program to its end.
   * @throws DinpError timeout, canceled (aborted), unavailable (the machine cannot be reached)
   */
  run(argv: string[], options?: RunOptions): Promise<RunResult>;
  /** Lines of a program's standard output as they come, until it ends or is aborted (no error then). */
  follow(argv: string[], options: { signal: AbortSignal }): AsyncIterable<string>;
  /** Runs a program with streams; resolves to its exit status as in RunResult. @throws DinpError canceled, unavailable */
  stream(argv: string[], options: StreamOptions): Promise<number>;
}
