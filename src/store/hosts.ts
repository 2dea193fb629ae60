import type { RunHost } from '../domain/run-host.ts';
import type { Sqlite } from './database.ts';

interface Row {
  id: number;
  name: string;
  ssh_user: string;
  ssh_host: string;
  ssh_port: number;
  key_type: string;
  fingerprint: string;
  address: string;
  labels: string;
  docker: string;
  registry_port: number;
  drained: number;
  created_at: number;
}

export type NewHost = Omit<RunHost, 'id' | 'drained' | 'createdAt'>;

/** The machines that run instances over SSH. */
export class RunHosts {
  readonly #db: Sqlite;

  constructor(db: Sqlite) {
    this.#db = db;
  }

  add(host: NewHost): RunHost {
    this.#db
      .prepare(
        `INSERT INTO hosts (name, ssh_user, ssh_host, ssh_port, key_type, fingerprint, address, labels, docker,
                            registry_port, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        host.name,
        host.ssh.user,
        host.ssh.host,
        host.ssh.port,
        host.hostKey.type,
        host.hostKey.fingerprint,
        host.address,
        JSON.stringify(host.labels),
        host.docker,
        host.registryPort,
        Date.now(),
      );
    return this.find(host.name)!;
  }

  find(name: string): RunHost | undefined {
    const row = this.#db.prepare<[string], Row>('SELECT * FROM hosts WHERE name = ?').get(name);
    return row && toHost(row);
  }

  /** By name. */
  list(): RunHost[] {
    return this.#db.prepare<[], Row>('SELECT * FROM hosts ORDER BY name').all().map(toHost);
  }

  setHostKey(id: number, { type, fingerprint }: RunHost['hostKey']): void {
    this.#db.prepare('UPDATE hosts SET key_type = ?, fingerprint = ? WHERE id = ?').run(type, fingerprint, id);
  }

  setDrained(id: number, drained: boolean): void {
    this.#db.prepare('UPDATE hosts SET drained = ? WHERE id = ?').run(drained ? 1 : 0, id);
  }

  remove(id: number): void {
    this.#db.prepare('DELETE FROM hosts WHERE id = ?').run(id);
  }
}

function toHost(row: Row): RunHost {
  return {
    id: row.id,
    name: row.name,
    ssh: { user: row.ssh_user, host: row.ssh_host, port: row.ssh_port },
    hostKey: { type: row.key_type, fingerprint: row.fingerprint },
    address: row.address,
    labels: JSON.parse(row.labels) as Record<string, string>,
    docker: row.docker,
    registryPort: row.registry_port,
    drained: row.drained === 1,
    createdAt: row.created_at,
  };
}
