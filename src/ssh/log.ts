/** What operators read about the front door; travels from the workers to the control process's own log. */
export type Log = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
