/**
 * Small questions of the set-up scripts, where curl and nc may be missing. Ends 0 for yes, prints where there is
 * something to say.
 *
 *   probe.ts engine SOCKET      the version of the Docker Engine behind a unix socket
 *   probe.ts registry HOST:PORT is it a registry that takes pushes without a login?
 *   probe.ts caddy URL          is it Caddy's admin API?
 *   probe.ts unix SOCKET        does something accept on this unix socket?
 *   probe.ts ssh HOST:PORT      does an SSH server greet?
 *   probe.ts page URL           does a page there answer with a status below 400?
 *   probe.ts free-port FROM     the first loopback port from FROM on that nobody listens on
 *   probe.ts config FILE KEY…   the values of dotted keys in a YAML file, one a line, empty where absent
 */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type NetConnectOpts } from 'node:net';

const TIMEOUT_MS = 3000;

interface Answer {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  body: string;
}

interface Question {
  socketPath?: string;
  host?: string;
  port?: number;
  path: string;
  headers?: Record<string, string>;
}

function get(options: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, timeout: TIMEOUT_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end();
  });
}

/** The first bytes that a server sends by itself, '' when it only accepts (greeting false). */
function greet(options: NetConnectOpts, greeting: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(options);
    const done = (text: string) => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed')));
    socket.on('connect', () => greeting || done(''));
    socket.on('data', (data) => done(data.toString('latin1')));
  });
}

function hostPort(text: string): { host: string; port: number } {
  const { hostname, port } = new URL(`http://${text}`);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) };
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

async function freePort(from: number): Promise<string> {
  for (let port = from; port < Math.min(from + 500, 65536); port++) {
    // Busy on one address only is busy: who listens on every address would take what is meant for loopback.
    if ((await isFree(port, '0.0.0.0')) && (await isFree(port, '127.0.0.1'))) return String(port);
  }
  throw new Error(`no free port from ${from} on`);
}

async function configValues(file: string, keys: string[]): Promise<string> {
  const { parse } = await import('yaml');
  const config: unknown = parse(readFileSync(file, 'utf8'));
  const value = (key: string) =>
    key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
  return keys.map((key) => String(value(key) ?? '')).join('\n');
}

async function answer(question: string, subject: string, rest: string[]): Promise<string | undefined> {
  switch (question) {
    case 'engine': {
      const { status, body } = await get({ socketPath: subject, path: '/version' });
      return status === 200 ? (JSON.parse(body) as { Version?: string }).Version : undefined;
    }
    case 'registry': {
      const { status, headers } = await get({ ...hostPort(subject), path: '/v2/' });
      return status === 200 && headers['docker-distribution-api-version'] !== undefined ? '' : undefined;
    }
    case 'caddy': {
      const { hostname: host, port } = new URL(subject);
      const { status, headers } = await get({ host, port: Number(port), path: '/config/' });
      return status === 200 && headers['content-type']?.includes('json') ? '' : undefined;
    }
    case 'page': {
      const { hostname, host, port, pathname } = new URL(subject);
      // Browsers know that *.localhost is this machine (RFC 6761); the system's resolver often does not.
      const server = hostname.endsWith('localhost') ? '127.0.0.1' : hostname;
      const { status } = await get({ host: server, port: Number(port || 80), path: pathname, headers: { host } });
      return status >= 200 && status < 400 ? '' : undefined;
    }
    case 'unix':
      return greet({ path: subject }, false);
    case 'ssh':
      return (await greet(hostPort(subject), true)).startsWith('SSH-2.0-') ? '' : undefined;
    case 'free-port':
      return freePort(Number(subject));
    case 'config':
      return configValues(subject, rest);
    default:
      throw new Error(`unknown question: ${question}`);
  }
}

try {
  const [question = '', subject = '', ...rest] = process.argv.slice(2);
  const said = await answer(question, subject, rest);
  if (said) console.log(said);
  process.exitCode = said === undefined ? 1 : 0;
} catch {
  process.exitCode = 1;
}
