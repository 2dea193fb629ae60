/** One bare repository and what runs from it. */
export interface App {
  id: number;
  name: string;
  /** Short branch name (`main`) whose pushes deploy; undefined until the first push decides it. */
  deployBranch: string | undefined;
  /** false: pushes are stored and recorded as builds, nothing is built. */
  deploys: boolean;
  /** true after `stop`: releases are recorded, nothing runs until `start`. */
  stopped: boolean;
  /** Target by name; undefined means the server's default. */
  target: string | undefined;
  /** The stable port of the app on the server's address, once it has a web process. */
  port: number | undefined;
  /** Number of the release that serves; undefined before the first. */
  liveRelease: number | undefined;
  createdAt: number;
}
