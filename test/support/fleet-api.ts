import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { FleetMachine, FleetOption } from '../../src/run/fleet/fleet-client.ts';
import { type ClusterPace, FleetCluster, type Recorded } from './fleet-cluster.ts';
import { nameProblem, optionsProblem, unitHash, wishesOf } from './fleet-rules.ts';

export interface FleetApiOptions {
  machines?: FleetMachine[];
  /** Entries a page; fleetd has 100. */
  pageSize?: number;
  pace?: ClusterPace;
}

/** Two machines that are both this one, at two of its loopback addresses. */
export const TWO_MACHINES: FleetMachine[] = [
  { id: '1'.repeat(32), primaryIP: '127.0.0.1', metadata: { zone: 'a', disk: 'ssd' } },
  { id: '2'.repeat(32), primaryIP: '127.0.0.2', metadata: { zone: 'b', disk: 'ssd' } },
];
const STATES = ['inactive', 'loaded', 'launched'];
const UNITS = '/fleet/v1/units';

class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message = '') {
    super(message);
    this.status = status;
  }
}

/**
 * A double of fleet's API, version 1, and of the cluster behind it: the one thing that tests have no real one of. It is built
 * from fleet's documentation and from what fleetd 1.0 on two machines was seen to answer; the tests of it can be sent to a real
 * one: see test/integration/run/fleet-api.test.ts.
 */
export class FleetApi implements AsyncDisposable {
  readonly cluster: FleetCluster;
  readonly #server: Server;
  readonly #pageSize: number;
  /** true: as where etcd does not answer. */
  isDown = false;

  private constructor({
    machines = TWO_MACHINES,
    pageSize = 100,
    pace = { engine: 100, agent: 100 },
  }: FleetApiOptions) {
    this.cluster = new FleetCluster(machines, pace);
    this.#pageSize = pageSize;
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  static async start(options: FleetApiOptions = {}): Promise<FleetApi> {
    const api = new FleetApi(options);
    await new Promise<void>((resolve) => api.#server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.cluster.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, value?: unknown) => {
      const body = value === undefined ? '' : JSON.stringify(value);
      if (value !== undefined) response.setHeader('content-type', 'application/json');
      response.writeHead(status).end(body);
    };
    try {
      const body = await text(request);
      if (this.isDown) throw new Refusal(503, 'fleet server unable to communicate with etcd');
      const url = new URL(request.url!, this.endpoint);
      const [status, value] = this.#answer(request, url, body);
      send(status, value);
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      send(status, { error: { code: status, message: error instanceof Refusal ? error.message : '' } });
    }
  }

  #answer(request: IncomingMessage, url: URL, body: string): [status: number, value?: unknown] {
    const { pathname } = url;
    const method = request.method ?? '';
    if (pathname === UNITS) return [200, this.#page(url, method, 'units', this.#readable())];
    if (pathname === '/fleet/v1/machines') return [200, this.#page(url, method, 'machines', this.cluster.machines)];
    if (pathname === '/fleet/v1/state') {
      const asked = (key: 'machineID' | 'name', value: string | null) => (state: { machineID: string; name: string }) =>
        !value || state[key] === value;
      const states = this.cluster.states
        .filter(asked('machineID', url.searchParams.get('machineID')))
        .filter(asked('name', url.searchParams.get('unitName')));
      return [200, this.#page(url, method, 'states', states)];
    }
    const name = /^\/fleet\/v1\/units\/([^/]+)$/.exec(pathname)?.[1];
    if (name === undefined) throw new Refusal(404);
    return this.#unit(method, decodeURIComponent(name), request.headers['content-type'] ?? '', body);
  }

  #unit(method: string, name: string, contentType: string, body: string): [status: number, value?: unknown] {
    if (method === 'PUT') return [this.#put(name, contentType, body)];
    if (method !== 'GET' && method !== 'DELETE')
      throw new Refusal(405, 'only GET, PUT and DELETE supported against this resource');
    const unit = this.#find(name);
    if (unit === undefined) throw new Refusal(404, 'unit does not exist');
    if (method === 'GET') return [200, this.#shown(unit)];
    this.cluster.units.delete(name);
    return [204];
  }

  #put(name: string, contentType: string, body: string): number {
    if (contentType.split(';')[0]!.trim() !== 'application/json')
      throw new Refusal(415, 'only acceptable Content-Type is application/json');
    const { name: said = name, options = [], desiredState = '' } = parse(body);
    if (said !== name) throw new Refusal(400, `name in URL "${name}" differs from unit name in request body "${said}"`);
    const problem = nameProblem(name);
    if (problem !== undefined) throw new Refusal(400, problem);
    const existing = this.#find(name);
    if (existing === undefined) {
      if (options.length === 0) throw new Refusal(409, 'unit does not exist and options field empty');
      const wrong = optionsProblem(options);
      if (wrong !== undefined) throw new Refusal(400, wrong);
    }
    if (existing === undefined || (options.length > 0 && unitHash(options) !== unitHash(existing.options))) {
      if (desiredState !== '' && !STATES.includes(desiredState)) throw new Refusal(500);
      const { machineID } = existing ?? {};
      this.cluster.units.set(name, { name, options, desired: desiredState || 'inactive', machineID });
      return 201;
    }
    if (desiredState === '') throw new Refusal(409, 'must provide DesiredState to update existing unit');
    // Here fleetd checks nothing, and can read its own record no more.
    existing.desired = desiredState;
    return 204;
  }

  #find(name: string): Recorded | undefined {
    const unit = this.cluster.units.get(name);
    if (unit !== undefined && !STATES.includes(unit.desired)) throw new Refusal(500);
    return unit;
  }

  /** Units whose record cannot be read are left out, without a word. */
  #readable(): unknown[] {
    const units = [...this.cluster.units.values()].filter(({ desired }) => STATES.includes(desired));
    return units.sort((a, b) => (a.name < b.name ? -1 : 1)).map((unit) => this.#shown(unit));
  }

  #shown(unit: Recorded): unknown {
    const { name, options, desired: desiredState, machineID } = unit;
    if (wishesOf(name, options).isGlobal) return { name, options, desiredState };
    return { name, options, desiredState, currentState: this.cluster.currentState(unit), machineID };
  }

  /** One page; what is empty is left out of it, and a full one always says that there is another. */
  #page(url: URL, method: string, key: string, all: unknown[]): unknown {
    if (method !== 'GET') throw new Refusal(405, 'only GET supported against this resource');
    const number = this.#pageNumber(url.searchParams.getAll('nextPageToken'));
    const begin = (number - 1) * this.#pageSize;
    if (begin >= all.length) return {};
    const items = all.slice(begin, begin + this.#pageSize);
    const isFull = begin + this.#pageSize <= all.length;
    return { [key]: items, ...(isFull && { nextPageToken: this.#token(number + 1) }) };
  }

  #token(page: number): string {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt16LE(this.#pageSize, 0);
    bytes.writeUInt16LE(page, 2);
    return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  }

  #pageNumber(tokens: string[]): number {
    if (tokens.length === 0) return 1;
    if (tokens.length > 1) throw new Refusal(400, 'too many values for page token');
    if (!/^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?$/.test(tokens[0]!))
      throw new Refusal(400, 'illegal base64 data at input byte 0');
    const bytes = Buffer.from(tokens[0]!, 'base64url');
    if (bytes.length < 4) throw new Refusal(400, 'unexpected EOF');
    if (bytes.readUInt16LE(0) !== this.#pageSize) throw new Refusal(400, `token limit must be ${this.#pageSize}`);
    if (bytes.readUInt16LE(2) === 0) throw new Refusal(400, 'token page must be greater than zero');
    return bytes.readUInt16LE(2);
  }
}

function parse(body: string): { name?: string; options?: FleetOption[]; desiredState?: string } {
  try {
    return JSON.parse(body) as { name?: string; options?: FleetOption[]; desiredState?: string };
  } catch (error) {
    throw new Refusal(400, `unable to decode body: ${(error as Error).message}`);
  }
}
