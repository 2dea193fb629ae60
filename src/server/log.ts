import { type Logger, pino } from 'pino';
import type { ServerConfig } from './config.ts';

export type ServerLog = Logger;

/** The operator's log: JSON lines on standard output, past-tense events. Config values and credentials never reach it. */
export function createLog(level: ServerConfig['log']['level']): ServerLog {
  return pino({ level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime });
}
