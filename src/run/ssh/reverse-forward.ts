import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'ssh2';
import { DinpError } from '../../domain/errors.ts';
import { shellWords } from '../shell-words.ts';

export interface ForwardOptions {
  /** Port of the host's loopback address; 0: one that is free there. */
  port: number;
  /** Where connections to it end up, as seen from here: at an address, or with whoever takes them. */
  to: { host: string; port: number } | ((connection: Duplex) => void);
  /** Remembers on the host which of its processes listens for us: two of ours need two names. */
  name: string;
}

const LOOPBACK = '127.0.0.1';
/** A session whose end sshd has not noticed yet holds the port; it needs a moment to go. */
const TRIES = 10;
const PAUSE_MS = 200;

/**
 * Lets a host reach an address of ours at a port of its own loopback address (RFC 4254, 7.1), for as long as the
 * connection lasts. A forward that an earlier connection of ours left behind is taken over.
 * @returns the port
 * @throws DinpError unavailable
 */
export async function openReverseForward(client: Client, options: ForwardOptions): Promise<number> {
  const note = `/run/dinp-${options.name}.forward`;
  for (let tries = 1; ; tries++) {
    try {
      const port = await forward(client, options.port);
      bring(client, port, options.to);
      await say(client, 'echo "$PPID" >"$note"', note);
      return port;
    } catch (cause) {
      if (tries < TRIES) {
        await say(client, END_LEFTOVER, note);
        await sleep(PAUSE_MS);
        continue;
      }
      throw new DinpError(
        'unavailable',
        `port ${options.port} of the host's ${LOOPBACK} cannot be had: ${(cause as Error).message}.`,
        {
          cause,
          hint: 'Is the port taken there (ss -ltnp)? Its sshd must allow AllowTcpForwarding yes or remote.',
        },
      );
    }
  }
}

/** Brings connections to a port of the host where they should go; several ports of one host each have their own. */
function bring(client: Client, port: number, to: ForwardOptions['to']): void {
  client.on('tcp connection', (details, accept) => {
    if (details.destPort !== port) return;
    const theirs = accept();
    theirs.on('error', () => theirs.destroy());
    if (typeof to === 'function') return to(theirs);
    const ours = connect(to);
    theirs.on('error', () => ours.destroy());
    ours.on('error', () => theirs.destroy());
    theirs.on('close', () => ours.destroy());
    ours.on('close', () => theirs.end());
    theirs.pipe(ours).pipe(theirs);
  });
}

/** Ends the sshd process that listened for an earlier connection of ours, and nothing else. */
const END_LEFTOVER = 'pid=$(cat "$note") && grep -q "^sshd" "/proc/$pid/comm" && [ "$pid" != "$PPID" ] && kill "$pid"';

function forward(client: Client, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    client.forwardIn(LOOPBACK, port, (error, bound) => (error === undefined ? resolve(bound ?? port) : reject(error)));
  });
}

/** Runs a line of shell that knows the path of the note; how it ends is not asked. */
async function say(client: Client, script: string, note: string): Promise<void> {
  // Not exec: the parent of this shell must be sshd.
  const line = `note=${shellWords([note])}; ${script}`;
  await new Promise<void>((resolve) => {
    client.exec(line, (error, channel) => {
      if (error !== undefined) return resolve();
      channel.on('error', () => {});
      channel.resume();
      channel.stderr.resume();
      void once(channel, 'close').then(
        () => resolve(),
        () => resolve(),
      );
    });
  });
}
