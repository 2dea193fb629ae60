import { Agent, type ClientRequestArgs } from 'node:http';
import type { Duplex } from 'node:stream';
import Docker from 'dockerode';

const SOCKET = '/var/run/docker.sock';

/**
 * The Docker Engine of a machine that is reached over SSH, through its own unix socket: nothing listens on its network,
 * and whoever may log in there is the one that may use it.
 * @param machine opens a unix socket there; fails with a DinpError
 */
export function engineOver(machine: { openSocket(path: string): Promise<Duplex> }): Docker {
  // The type lacks the agent, which docker-modem hands to each request.
  const options = { protocol: 'http' as const, host: 'engine', port: 80, agent: new SocketAgent(machine) };
  return new Docker(options);
}

class SocketAgent extends Agent {
  readonly #machine: { openSocket(path: string): Promise<Duplex> };

  constructor(machine: { openSocket(path: string): Promise<Duplex> }) {
    super({ keepAlive: false });
    this.#machine = machine;
  }

  override createConnection(
    _options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#machine.openSocket(SOCKET).then(
      (stream) => callback?.(null, stream),
      (error: Error) => callback?.(error, undefined as never),
    );
  }
}
