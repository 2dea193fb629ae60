import { Agent, request } from 'undici';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';

/** One `Name=value` line of a unit file and the section that it is in. */
export interface FleetOption {
  section: string;
  name: string;
  value: string;
}

export type FleetWish = 'inactive' | 'loaded' | 'launched';

/** What somebody wishes to run (fleet API v1, "Unit Entity"). */
export interface FleetUnit {
  name: string;
  options: FleetOption[];
  desiredState: FleetWish;
  /** undefined for units that run on every machine. */
  currentState?: FleetWish;
  /** undefined as long as fleet has found no machine. */
  machineID?: string;
}

/** How a unit does on a machine, some seconds ago ("UnitState Entity"). */
export interface FleetState {
  name: string;
  machineID: string;
  systemdLoadState: string;
  systemdActiveState: string;
  systemdSubState: string;
}

export interface FleetMachine {
  id: string;
  primaryIP: string;
  metadata: Record<string, string>;
}

export interface FleetClientOptions {
  /** `unix:///var/run/fleet.sock`, `http://10.0.0.5:49153`, `https://…`. */
  endpoint: string;
  /** PEM texts: who signed the server's certificate, and what we show as ours. */
  tls?: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined };
  /** Milliseconds for an answer to come; 10,000 where not given. */
  timeoutMs?: number;
}

interface Answer {
  status: number;
  text: string;
}

const TIMEOUT_MS = 10_000;
const PREFIX = '/fleet/v1';
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * fleet's HTTP API, version 1 (coreos/fleet, Documentation/api-v1.md). What it says is checked for its form: an answer
 * that is not fleet's is never taken for an empty list.
 */
export class FleetClient {
  /** As people know it. */
  readonly endpoint: string;
  readonly #origin: string;
  readonly #agent: Agent;
  readonly #timeoutMs: number;

  /** @throws DinpError config for an endpoint that is none */
  constructor({ endpoint, tls = {}, timeoutMs = TIMEOUT_MS }: FleetClientOptions) {
    this.endpoint = endpoint;
    this.#timeoutMs = timeoutMs;
    const [, socketPath] = /^unix:(?:\/\/)?(\/.+)$/.exec(endpoint) ?? [];
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    if (socketPath === undefined && !['http:', 'https:'].includes(url?.protocol ?? '')) {
      throw new DinpError('config', `fleet.endpoint "${printable(endpoint)}" is no address of fleet's API.`, {
        hint: 'Write unix:///var/run/fleet.sock, http://HOST:49153 or https://HOST:PORT.',
      });
    }
    this.#origin = socketPath === undefined ? url!.origin : 'http://fleet';
    const certificates = Object.fromEntries(Object.entries(tls).filter(([, text]) => text !== undefined));
    this.#agent = new Agent({
      connect: { timeout: timeoutMs, ...(socketPath === undefined ? certificates : { socketPath }) },
      keepAliveTimeout: 4_000,
    });
  }

  /** Ends the kept connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** All machines that fleet hears of. @throws DinpError unavailable */
  async machines(): Promise<FleetMachine[]> {
    const found = await this.#list<Partial<FleetMachine>>('/machines', 'machines', {});
    return found.flatMap(({ id, primaryIP = '', metadata = {} }) => (id ? [{ id, primaryIP, metadata }] : []));
  }

  /** All units, of whomever. @throws DinpError unavailable */
  async units(): Promise<FleetUnit[]> {
    return (await this.#list<FleetUnit>('/units', 'units', {})).map(withOptions);
  }

  /** @throws DinpError unavailable */
  async unit(name: string): Promise<FleetUnit | undefined> {
    const answer = await this.#send('GET', unitPath(name));
    if (answer.status === 404) return undefined;
    return withOptions(this.#parse(answer, `GET ${name}`) as unknown as FleetUnit);
  }

  /** How units do, on all machines that have them; of one unit where it is named. @throws DinpError unavailable */
  async states(unitName?: string): Promise<FleetState[]> {
    return await this.#list<FleetState>('/state', 'states', unitName === undefined ? {} : { unitName });
  }

  /** Makes a unit, or gives one other options and has it restarted with them. @throws DinpError refused, unavailable */
  async putUnit(name: string, options: FleetOption[], desiredState: FleetWish): Promise<void> {
    this.#parse(await this.#send('PUT', unitPath(name), { desiredState, options }), `PUT ${name}`);
  }

  /** @throws DinpError refused where there is no such unit, unavailable */
  async setState(name: string, desiredState: FleetWish): Promise<void> {
    this.#parse(await this.#send('PUT', unitPath(name), { desiredState }), `PUT ${name}`);
  }

  /** Removes a unit; one that is not there is fine. @throws DinpError unavailable */
  async removeUnit(name: string): Promise<void> {
    const answer = await this.#send('DELETE', unitPath(name));
    if (answer.status !== 404) this.#parse(answer, `DELETE ${name}`);
  }

  /** Reads a collection page after page. fleet leaves out what is empty, so that `{}` is a page without entries. */
  async #list<T>(path: string, key: string, query: Record<string, string>): Promise<T[]> {
    const all: T[] = [];
    const tokens = new Set<string>();
    for (let token: string | undefined; ; ) {
      const search = new URLSearchParams({ ...query, ...(token !== undefined && { nextPageToken: token }) });
      const answer = await this.#send('GET', `${path}${search.size > 0 ? `?${search}` : ''}`);
      const value = this.#parse(answer, `GET ${path}`);
      const entries = value[key] ?? [];
      if (!Array.isArray(entries)) throw this.#foreign(`GET ${path}`);
      all.push(...(entries as T[]));
      if (!value.nextPageToken) return all;
      token = String(value.nextPageToken);
      // A page that leads to itself would be read for ever.
      if (tokens.has(token)) throw this.#foreign(`GET ${path}`);
      tokens.add(token);
    }
  }

  async #send(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<Answer> {
    try {
      const response = await request(`${this.#origin}${PREFIX}${path}`, {
        method,
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(this.#timeoutMs),
        headersTimeout: this.#timeoutMs,
        ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) throw new Error('its answer is longer than 64 MiB');
        chunks.push(chunk);
      }
      return { status: response.statusCode, text: Buffer.concat(chunks).toString() };
    } catch (cause) {
      throw new DinpError('unavailable', `fleet's API at ${this.endpoint} does not answer: ${reasonOf(cause)}.`, {
        hint: 'Does fleetd run there, and is its socket open to this server? The address is fleet.endpoint in the config.',
        cause,
      });
    }
  }

  /** The JSON object of an answer that went well. @throws DinpError with fleet's own words */
  #parse({ status, text }: Answer, what: string): Record<string, unknown> {
    let value: unknown;
    try {
      // Only a change has nothing to tell.
      value = text === '' && !what.startsWith('GET') ? {} : JSON.parse(text);
    } catch {
      value = undefined;
    }
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (status >= 200 && status < 300 && isObject) return value as Record<string, unknown>;
    if (status < 300) throw this.#foreign(what);
    const said = (value as { error?: { message?: unknown } } | undefined)?.error?.message;
    // A wrong desired state, a record that it cannot read and an etcd that is away all come as 500 and no word.
    const message = typeof said === 'string' && said !== '' ? printable(said) : `status ${status}, without a reason`;
    throw new DinpError(status >= 500 ? 'unavailable' : 'refused', `fleet answers ${what} with: ${message}.`, {
      ...(status >= 500 && { hint: 'Its own log says more, on the machine that was asked: journalctl -u fleet' }),
    });
  }

  #foreign(what: string): DinpError {
    return new DinpError('unavailable', `what answers ${what} at ${this.endpoint} is not fleet's API, version 1.`);
  }
}

function unitPath(name: string): string {
  return `/units/${encodeURIComponent(name)}`;
}

function withOptions(unit: FleetUnit): FleetUnit {
  return { ...unit, options: unit.options ?? [] };
}

function reasonOf(error: unknown): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError' || code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT')
    return 'it takes too long';
  return code ?? message;
}
