import type { GitServiceSettings } from '../git/receive-pack.ts';
import type { ToClient, ToControl } from './protocol.ts';

/** Numbers that bound what clients may take of a worker. Times in milliseconds. */
export interface FrontDoorLimits {
  /** From the connection to the login. */
  loginMs: number;
  /** Connections of one worker that are not logged in; the oldest make room for more. */
  unknownConnections: number;
  connections: number;
  /** Sessions at a time in one connection. */
  sessions: number;
  keepaliveMs: number;
  keepaliveMisses: number;
  /** Keys are renewed after so many bytes both ways, and after so long (RFC 4253, 9); ssh2 never does by itself. */
  rekeyBytes: number;
  rekeyMs: number;
}

/** What a worker needs to begin. */
export interface WorkerSettings {
  hostKey: string;
  user: string;
  program: string;
  git: GitServiceSettings;
  limits: FrontDoorLimits;
}

/** What the front door says to a worker beside the answers of protocol.ts. `listen` comes with the listening handle. */
export type ToWorker =
  | ToClient
  | { type: 'listen'; settings: WorkerSettings }
  | { type: 'ping' }
  /** Stop listening, end the sessions, exit. */
  | { type: 'stop' };

/** What a worker says to the front door beside the requests of protocol.ts. */
export type FromWorker =
  | ToControl
  | { type: 'listening' }
  | { type: 'listen-error'; code: string }
  | { type: 'pong'; residentBytes: number }
  /** A push into an app begins, or its outcome is with the control process. */
  | { type: 'receiving'; app: string; active: boolean }
  | { type: 'log'; level: 'info' | 'warn' | 'error'; message: string; fields: Record<string, unknown> };
