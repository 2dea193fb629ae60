import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Program } from './program.ts';
import { until } from './until.ts';

const BEAT_MS = 100;

/**
 * Holds programs in containers at a point of their script until it is opened. So tests know exactly where a build or a
 * start is, without sleeping.
 */
export interface Gate extends AsyncDisposable {
  /** Shell command that waits at the gate; works in a build step and in an instance of the busybox base. */
  wait: string;
  /**
   * Resolves when somebody waits at it (somebody else, after the last call).
   * @param by what is to bring somebody there; where it ends first, its output is the failure
   */
  reached(by?: Program): Promise<void>;
  /** Resolves when nobody waits at it any more: those who did have gone on or were killed. */
  left(): Promise<void>;
  /** Lets everybody through, from now on. */
  open(): void;
  /** Holds whoever comes from now on. */
  shut(): void;
}

/** Makes a gate where containers reach it. @param at an address of this machine; that on the engine's bridge where not given */
export async function makeGate(at = bridgeAddress()): Promise<Gate> {
  const waiting = new Set<Socket>();
  let arrived = 0;
  let isOpen = false;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    // Whether the other side still lives shows only when something is sent to it.
    const beat = setInterval(() => socket.writable && socket.write('.'), BEAT_MS);
    socket.once('close', () => {
      clearInterval(beat);
      waiting.delete(socket);
    });
    socket.on('error', () => {});
    waiting.add(socket);
    arrived++;
    if (isOpen) socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, at, resolve));
  const { address, port } = server.address() as AddressInfo;
  return {
    wait: waitAt(address, port),
    async reached(by) {
      try {
        await until('somebody comes to the gate', () => {
          if (arrived === 0 && by !== undefined && by.child.exitCode !== null) throw new Error('it ended');
          return arrived > 0;
        });
      } catch (error) {
        throw new Error(`Nobody came to the gate; so far:\n${by?.output() ?? ''}`, { cause: error });
      }
      arrived--;
    },
    async left() {
      // By the processes: where a network ends with its last one, no socket hears of it.
      await until('nobody waits at the gate', () => !isRunning(`nc\0${address}\0${port}\0`));
    },
    open() {
      isOpen = true;
      for (const socket of waiting) socket.end();
    },
    shut() {
      isOpen = false;
      arrived = 0;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of waiting) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Whether any process of this machine, containers' too, has these words in its command line. */
/**
 * It has a name of its own: ports come again, and the engine's build cache would let a step pass that it has seen. And it
 * tries again: the network of a container that was made this instant may not let it out yet.
 */
function waitAt(address: string, port: number): string {
  const connect = `busybox nc ${address} ${port} < /dev/null > /dev/null`;
  return `for i in 1 2 3 4 5 ${randomUUID()}; do ${connect} && break; busybox sleep 0.5; done`;
}

function isRunning(words: string): boolean {
  return readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(words));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** This machine's address on the engine's default bridge. */
function bridgeAddress(): string {
  const option = '{{index .Options "com.docker.network.bridge.name"}}';
  const bridge = execFileSync('docker', ['network', 'inspect', 'bridge', '-f', option], { encoding: 'utf8' }).trim();
  // Not from os.networkInterfaces(): it leaves the bridge out while no container is on it.
  const lines = execFileSync('ip', ['-4', '-o', 'address', 'show', 'dev', bridge], { encoding: 'utf8' });
  const found = /\binet ([\d.]+)\//.exec(lines)?.[1];
  if (found === undefined) throw new Error(`no address on the engine's bridge ${bridge}`);
  return found;
}
