import { Apps } from './apps.ts';
import { Builds } from './builds.ts';
import { Changes } from './changes.ts';
import { Config } from './config.ts';
import type { Sqlite } from './database.ts';
import { Domains } from './domains.ts';
import { Formation } from './formation.ts';
import { RunHosts } from './hosts.ts';
import { Images } from './images.ts';
import { Keys } from './keys.ts';
import { Notifications } from './notifications.ts';
import { Placements } from './placements.ts';
import { InstancePorts } from './ports.ts';
import { Releases } from './releases.ts';
import { Tokens } from './tokens.ts';

/** All tables of the server's database; the control process is the only one that holds it. */
export class Store {
  readonly apps: Apps;
  readonly keys: Keys;
  readonly builds: Builds;
  readonly releases: Releases;
  readonly config: Config;
  readonly formation: Formation;
  readonly ports: InstancePorts;
  readonly domains: Domains;
  readonly changes: Changes;
  readonly tokens: Tokens;
  readonly images: Images;
  readonly hosts: RunHosts;
  readonly placements: Placements;
  readonly notifications: Notifications;
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
    this.apps = new Apps(db);
    this.keys = new Keys(db);
    this.builds = new Builds(db);
    this.releases = new Releases(db);
    this.config = new Config(db);
    this.formation = new Formation(db);
    this.ports = new InstancePorts(db);
    this.domains = new Domains(db);
    this.changes = new Changes(db);
    this.images = new Images(db);
    this.hosts = new RunHosts(db);
    this.placements = new Placements(db);
    this.notifications = new Notifications(db);
    this.tokens = new Tokens(db);
  }

  /** Runs a function whose writes all happen or none does. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work)();
  }

  close(): void {
    this.#db.close();
  }
}
