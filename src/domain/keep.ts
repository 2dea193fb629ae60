/** What clean-up leaves of an app's images; each rule keeps some, and what none keeps goes. 0 switches a rule off. */
export interface KeepRules {
  /** Newest commits of each branch. */
  branch: number;
  /** Newest commits, uploads and images by address in all. */
  commits: number;
  /** Newest git tags, whose commits are kept. */
  tags: number;
  /** Everything younger than so many days. */
  days: number;
}

/** What holds where neither dinp.yml nor the server's config says something. */
export const DEFAULT_KEEP: KeepRules = { branch: 2, commits: 50, tags: 10, days: 30 };
