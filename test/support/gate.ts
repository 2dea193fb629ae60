import { execFileSync } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * Holds programs in containers at a point of their script: `wget URL` there answers once the gate is opened. So tests
 * know exactly where a build or a start is, without sleeping.
 */
export interface Gate extends AsyncDisposable {
  /** Shell command that waits at the gate; works in a build step and in an instance of the busybox base. */
  wait: string;
  /** Resolves when somebody waits at it (again, after the last call). */
  reached(): Promise<void>;
  /** Lets everybody through, from now on. */
  open(): void;
}

/** Opens a gate on the engine's bridge, where containers reach it. */
export async function makeGate(): Promise<Gate> {
  const waiting: ServerResponse[] = [];
  const arrivals: (() => void)[] = [];
  let arrived = 0;
  let isOpen = false;
  const server = createServer((_request, response) => {
    if (isOpen) {
      response.end('go\n');
      return;
    }
    waiting.push(response);
    const next = arrivals.shift();
    if (next) next();
    else arrived++;
  });
  await new Promise<void>((resolve) => server.listen(0, bridgeAddress(), resolve));
  const { address, port } = server.address() as AddressInfo;
  return {
    wait: `busybox wget -q -T 900 -O - http://${address}:${port}/`,
    reached() {
      if (arrived > 0) {
        arrived--;
        return Promise.resolve();
      }
      return new Promise((resolve) => arrivals.push(resolve));
    },
    open() {
      isOpen = true;
      for (const response of waiting.splice(0)) response.end('go\n');
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** This machine's address on the engine's default bridge. */
function bridgeAddress(): string {
  const option = '{{index .Options "com.docker.network.bridge.name"}}';
  const bridge = execFileSync('docker', ['network', 'inspect', 'bridge', '-f', option], { encoding: 'utf8' }).trim();
  const found = networkInterfaces()[bridge]?.find(({ family }) => family === 'IPv4');
  if (found === undefined) throw new Error(`no address on the engine's bridge ${bridge}`);
  return found.address;
}
