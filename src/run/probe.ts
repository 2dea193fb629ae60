import { request } from 'node:http';
import { connect } from 'node:net';

/** Where to knock. */
export interface Address {
  host: string;
  port: number;
}

/**
 * What one look at an instance found; `isTimeout` where it only had too little time. `unreachable` means that nothing is known: no packet came back, as where the
 * address belongs to a network of another machine.
 */
export type Verdict =
  | { kind: 'healthy' }
  | { kind: 'unhealthy'; problem: string; isTimeout?: true }
  | { kind: 'unreachable' };

const HEALTHY: Verdict = { kind: 'healthy' };
const UNREACHABLE = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EACCES', 'EPERM']);
/** The engine's proxy on a published port closes a connection that leads nowhere within a millisecond or two. */
const HOLD_MS = 250;
const MAX_BODY = 1024 * 1024;

/**
 * Connects by TCP. With `behindProxy` (a published port, where the engine's proxy accepts before the app does) the
 * connection must also stay open for a moment.
 */
export function probeTcp(address: Address, options: { timeoutMs: number; behindProxy: boolean }): Promise<Verdict> {
  const refused: Verdict = { kind: 'unhealthy', problem: 'did not accept connections' };
  return new Promise((resolve) => {
    const socket = connect(address);
    const end = (verdict: Verdict) => {
      socket.destroy();
      clearTimeout(timer);
      resolve(verdict);
    };
    let timer = setTimeout(() => end({ kind: 'unreachable' }), options.timeoutMs);
    socket.once('connect', () => {
      if (!options.behindProxy) return end(HEALTHY);
      clearTimeout(timer);
      timer = setTimeout(() => end(HEALTHY), HOLD_MS);
      socket.once('data', () => end(HEALTHY));
      socket.once('end', () => end(refused));
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(UNREACHABLE.has(error.code ?? '') ? { kind: 'unreachable' } : refused),
    );
  });
}

/** Asks by HTTP: a status from 200 to 399 is healthy, and the body must hold `contains` where that is given. */
export function probeHttp(
  address: Address,
  options: {
    path: string;
    contains: string | undefined;
    hostHeader: string | undefined;
    timeoutMs: number;
    behindProxy: boolean;
  },
): Promise<Verdict> {
  const { path, contains, timeoutMs } = options;
  const bad = (problem: string): Verdict => ({ kind: 'unhealthy', problem });
  return new Promise((resolve) => {
    const headers = { host: options.hostHeader ?? `127.0.0.1:${address.port}`, 'user-agent': 'dinp-health' };
    const outgoing = request({ ...address, path, headers, agent: false, signal: AbortSignal.timeout(timeoutMs) });
    let connected = false;
    outgoing.once('socket', (socket) => socket.once('connect', () => (connected = true)));
    outgoing.once('error', (error: NodeJS.ErrnoException) => {
      if (error.name === 'AbortError' || error.name === 'TimeoutError') {
        const slow: Verdict = { kind: 'unhealthy', problem: `did not answer GET ${path}`, isTimeout: true };
        return resolve(connected ? slow : { kind: 'unreachable' });
      }
      if (UNREACHABLE.has(error.code ?? '')) return resolve({ kind: 'unreachable' });
      // Behind the engine's proxy a connection that is closed at once says nothing about the app.
      const isApp = error.code?.startsWith('HPE_') || (connected && !options.behindProxy);
      resolve(bad(isApp ? `did not answer GET ${path} with HTTP` : 'did not accept connections'));
    });
    outgoing.once('response', (response) => {
      const status = response.statusCode ?? 0;
      let body = '';
      const judge = () => {
        response.destroy();
        if (status < 200 || status > 399) return resolve(bad(`answered ${status} to GET ${path}`));
        if (contains === undefined || body.includes(contains)) return resolve(HEALTHY);
        resolve(bad(`answered GET ${path} without "${contains}" in the body`));
      };
      if (contains === undefined || status < 200 || status > 399) return judge();
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.includes(contains) || body.length > MAX_BODY) judge();
      });
      response.once('end', judge);
      response.once('error', () => resolve(bad(`broke off its answer to GET ${path}`)));
    });
    outgoing.end();
  });
}
