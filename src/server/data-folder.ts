import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DinpError } from '../domain/errors.ts';

/** Where everything is below the server's data folder. */
export interface DataPaths {
  data: string;
  database: string;
  logs: string;
  units: string;
  hostKey: string;
  /** Our key to the machines that run instances. */
  hostsKey: string;
  socket: string;
  environment: string;
  uploads: string;
  partialUploads: string;
  compileCache: string;
}

export function dataPaths(data: string): DataPaths {
  return {
    data,
    database: join(data, 'dinp.db'),
    logs: join(data, 'builds'),
    units: join(data, 'units'),
    hostKey: join(data, 'ssh_host_ed25519_key'),
    hostsKey: join(data, 'hosts_ed25519_key'),
    socket: join(data, 'dinp.sock'),
    environment: join(data, 'environment'),
    uploads: join(data, 'uploads'),
    partialUploads: join(data, 'uploads', 'partial'),
    compileCache: join(data, 'compile-cache'),
  };
}

/**
 * Makes the data folder and holds it for this process alone until it ends, however it ends: the lock is one that the
 * kernel takes back (an exclusive SQLite transaction on a file of its own).
 * @throws DinpError unavailable when another server holds it, config when it cannot be made
 */
export function lockDataFolder(data: string): Disposable {
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new DinpError('config', `the data folder ${data} cannot be made: ${(cause as Error).message}.`, {
      hint: 'Set "data:" to a folder that this user may write.',
      cause,
    });
  }
  const lock = new Database(join(data, 'server.lock'));
  try {
    lock.pragma('busy_timeout = 0');
    lock.pragma('journal_mode = DELETE');
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    throw new DinpError('unavailable', `another dinp server is running on ${data}.`, {
      hint: 'Stop it first, or give this one a data folder of its own.',
      cause,
    });
  }
  return { [Symbol.dispose]: () => lock.close() };
}
