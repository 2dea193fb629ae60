/** What a person reads while something is done: in the push terminal, at a command, in a build's log. */
export interface Progress {
  /** A stage begins: printed as `-----> text`. */
  heading(text: string): void;
  /** Detail, indented under the heading; several lines are split. */
  line(text: string): void;
}

/** For work that nobody watches. */
export const SILENT: Progress = { heading: () => undefined, line: () => undefined };
