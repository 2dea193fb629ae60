import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import { cleanLine, LineBuffer } from '../image/engine/output.ts';
import type { Target } from '../run/target.ts';
import type { Progress } from './progress.ts';

const TAIL = 20;

/**
 * Runs the release commands of a release once, before anything of it is started.
 * @param specOf an instance of a service, whose image, environment and volumes its command gets
 * @throws DinpError start-failed with its last lines where one does not end with 0
 */
export async function runReleaseCommands(
  target: Target,
  release: Release,
  specOf: (service: ReleaseService) => InstanceSpec,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  for (const service of release.services) {
    const { releaseCommand: command } = service;
    if (command === undefined) continue;
    progress.line(`Running the release command: ${command.join(' ')}`);
    const tail: string[] = [];
    const take = (text: string): void => {
      const line = cleanLine(text);
      progress.line(line);
      tail.push(line);
      if (tail.length > TAIL) tail.shift();
    };
    // Pieces of output end anywhere, also within a character.
    const [stdout, stderr] = [new LineBuffer(take), new LineBuffer(take)];
    const spec = specOf(service);
    const status = await target.runOnce({ ...spec, name: `${spec.name}--release` }, command, {
      stdin: undefined,
      onStdout: (chunk) => stdout.write(chunk),
      onStderr: (chunk) => stderr.write(chunk),
      signal,
    });
    stdout.flush();
    stderr.flush();
    signal.throwIfAborted();
    if (status === 0) continue;
    throw new DinpError(
      'start-failed',
      `the release command of ${release.app} ended with status ${status}: ${command.join(' ')}`,
      {
        detail: tail.join('\n'),
        hint: 'Nothing was changed: the release before goes on serving. Mend the command and push again.',
      },
    );
  }
}
