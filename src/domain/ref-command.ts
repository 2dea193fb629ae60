/** One ref command of a push as git hands it to hooks; all zeros mean "no object". */
export interface RefCommand {
  old: string;
  new: string;
  ref: string;
}

/** What a push came to, as receive-pack's hooks and exit status show it. */
export interface PushOutcome {
  /** Ref commands that post-receive saw: they have happened. Empty when it did not run. */
  applied: RefCommand[];
  /** Ref commands that pre-receive saw; empty when the push had no commands (up-to-date, dry run). */
  asked: RefCommand[];
  /** Push options (`-o`), in order. */
  options: string[];
  /** receive-pack's exit status. */
  status: number;
}
