import type { Client } from './client.ts';
import type { Dinp } from './dinp.ts';
import type { Row } from './report.ts';
import type { Source } from './source.ts';
import type { Sshd } from './sshd.ts';

/** What every part of the bench has: both servers, running, and one client. */
export interface Bench {
  /** A folder of this run's own. */
  folder: string;
  /** Fewer rounds and smaller packs: for a look, not for figures. */
  quick: boolean;
  source: Source;
  client: Client;
  /** Program of the dinp that is measured. */
  main: string;
  dinp: Dinp;
  /** As it is by default. */
  sshd: Sshd;
  /** One that lets any number of connections log in at once. */
  openSshd: Sshd;
  /** Tells somebody who waits what is being measured. */
  progress(text: string): void;
}

/** One part of the bench: a few lines of the table. */
export interface Part {
  name: string;
  run(bench: Bench): Promise<Row[]>;
}

/** A key exchange that costs the client of OpenSSH 9 less than its first choice, and is the same on both sides. */
export const CURVE25519 = ['KexAlgorithms=curve25519-sha256'];
