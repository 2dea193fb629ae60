import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { StepFailure } from './build-progress.ts';

interface Context {
  /** Path of the Dockerfile in the commit. */
  dockerfile: string;
  /** The step that failed, where one did. */
  failure: StepFailure | undefined;
  /** Whether a .dockerignore took files away. */
  ignored: boolean;
}

const NETWORK =
  /dial tcp|no such host|i\/o timeout|connection refused|TLS handshake timeout|context deadline exceeded|Client\.Timeout|server misbehaving|network is unreachable|request canceled while waiting|EOF$/i;
/* How BuildKit begins every error. */
const PREFIX = /^(?:failed to solve(?: with frontend \S+)?: )?(?:failed to create LLB definition: )?/;
const DISK_FULL = /no space left on device|disk quota exceeded/i;

/** What the engine said about a failed build, told to the one who pushed. */
export function explainBuild(message: string, context: Context): DinpError {
  const lines = context.failure?.lines ?? '';
  const detail = lines === '' ? {} : { detail: lines };
  const said = printable(message.replace(/\s+/g, ' ').trim()).replace(PREFIX, '');
  if (DISK_FULL.test(message)) return diskFull();
  const failed = runFailure(said);
  if (failed !== undefined) return new DinpError('build-failed', failed.message, { ...detail, ...failed.hint });
  const missing = missingFile(said);
  if (missing !== undefined) {
    const step = context.failure?.step.replace(/^\[[^\]]*\] /, '') ?? 'COPY';
    return new DinpError('build-failed', `${step}: ${missing} is not in the build context.`, {
      hint: `See whether it is committed: git ls-files ${missing}${context.ignored ? ' (and whether .dockerignore leaves it out)' : ''}`,
    });
  }
  if (
    NETWORK.test(message) &&
    /FROM|manifest|registry|pull|resolve source metadata|failed to (?:do request|resolve)/i.test(message)
  ) {
    return new DinpError(
      'build-failed',
      `An image that ${context.dockerfile} builds on cannot be fetched: ${said}`,
      detail,
    );
  }
  if (
    /dockerfile parse error|unknown instruction|Dockerfile parse|unknown flag|requires (?:at least|exactly)/i.test(
      message,
    )
  ) {
    return new DinpError('build-failed', `${context.dockerfile} cannot be read: ${said}`);
  }
  const target = /target stage (?:")?([^" ]+)"? could not be found|failed to reach build target (\S+)/i.exec(said);
  if (target !== null) {
    return new DinpError('build-failed', `${context.dockerfile} has no stage ${target[1] ?? target[2]}.`, {
      hint: 'Set target: in dinp.yml to the name after AS.',
    });
  }
  return new DinpError('build-failed', `The build of ${context.dockerfile} failed: ${said}`, detail);
}

/** A RUN that ended with another status than 0, as both builders and their versions put it. */
function runFailure(said: string): { message: string; hint: { hint?: string } } | undefined {
  const match =
    /process "(.*)" did not complete successfully: exit code: (\d+)/.exec(said) ??
    /executor failed running \[(.*)\]: exit code: (\d+)/.exec(said) ??
    /The command '(.*)' returned a non-zero code: (\d+)/.exec(said);
  if (match === null) return undefined;
  const command = match[1]!.replace(/^\/bin\/sh -c /, '');
  const status = Number(match[2]);
  const shown = command.length > 200 ? `${command.slice(0, 200)} …` : command;
  const hint =
    status === 137
      ? { hint: 'Status 137 means that it was killed, mostly for using more memory than a build may.' }
      : {};
  return { message: `RUN ${shown} ended with exit status ${status}.`, hint };
}

function missingFile(said: string): string | undefined {
  const match =
    /failed to (?:compute cache key|calculate checksum)[^"]*"([^"]+)"/.exec(said) ??
    /lstat \S*\/buildkit-mount[^/]+\/(\S+): no such file or directory/.exec(said) ??
    /(?:COPY|ADD) failed: (?:file not found in build context[^:]*: )?stat (\S+): file does not exist/.exec(said);
  return match?.[1]?.replace(/^\//, '');
}

/** The engine's disk is full, wherever it was found. */
export function diskFull(): DinpError {
  return new DinpError('unavailable', 'The disk of the Docker Engine or the registry is full.', {
    hint: 'See what takes it with docker system df; old images go with docker image prune.',
  });
}

/** Why an image that a Dockerfile is built on could not be fetched. */
export function explainPull(image: string, message: string, dockerfile: string): DinpError {
  const said = printable(message.replace(/\s+/g, ' ').trim());
  if (DISK_FULL.test(message)) return diskFull();
  if (NETWORK.test(message)) {
    return new DinpError(
      'unavailable',
      `${dockerfile} builds on ${image}, which cannot be fetched: its registry does not answer.`,
      {
        hint: 'Where no hub can be reached, build on a base that this server has: dinp bases list',
        detail: said,
      },
    );
  }
  if (/unauthorized|authentication required|denied|no basic auth/i.test(message)) {
    return new DinpError(
      'refused',
      `${dockerfile} builds on ${image}, which does not exist or may not be read without a password.`,
      {
        hint: 'Check the name; for a private registry add its user name and password to the server config.',
        detail: said,
      },
    );
  }
  if (/not found|manifest unknown|no matching manifest|does not exist/i.test(message)) {
    return new DinpError('refused', `${dockerfile} builds on ${image}, which does not exist there for this platform.`, {
      detail: said,
    });
  }
  return new DinpError('unavailable', `${dockerfile} builds on ${image}, which cannot be fetched.`, { detail: said });
}

/** Why the engine could not push an image. */
export function explainPush(registry: string, message: string): DinpError {
  const said = printable(message.replace(/\s+/g, ' ').trim());
  if (DISK_FULL.test(message)) return diskFull();
  if (/unauthorized|authentication required|denied|no basic auth/i.test(message)) {
    return new DinpError(
      'denied',
      `The registry ${registry} does not let the engine push with the user name and password that are configured.`,
    );
  }
  if (/server gave HTTP response to HTTPS client/i.test(message)) {
    return new DinpError(
      'config',
      `The registry ${registry} speaks plain HTTP, which the engine refuses beyond its own machine.`,
      {
        hint: 'Give the registry a certificate, or name it by 127.0.0.1.',
      },
    );
  }
  if (NETWORK.test(message)) {
    return new DinpError('unavailable', `The registry ${registry} does not answer the engine.`, {
      hint: `Check that it runs: curl http://${registry}/v2/`,
      detail: said,
    });
  }
  const isItsOwn = /HTTP status: 5\d\d/.test(message);
  return new DinpError('unavailable', `The image could not be pushed to ${registry}: ${said}`, {
    ...(isItsOwn ? { hint: 'Its own log says why; a full disk is the usual reason.' } : {}),
  });
}
