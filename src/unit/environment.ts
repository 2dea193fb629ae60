import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import { fitsInUnit } from './values.ts';

/** A file that only root may read (mode 0600), with config values in it. */
export interface EnvironmentFile {
  /** Absolute. */
  path: string;
  text: string;
}

/** How the variables of an instance reach it. */
export interface SplitEnvironment {
  /** Not secret and of one line: stand in the unit. */
  plain: Record<string, string>;
  /** Values of one line, in the format of `docker run --env-file`; undefined where there are none. */
  dockerFile: EnvironmentFile | undefined;
  /**
   * Values that docker's format cannot hold (line breaks, very long), in the format of systemd's EnvironmentFile=.
   * They pass through the environment of the docker CLI, which is why some names are refused here.
   */
  systemdFile: EnvironmentFile | undefined;
  /** Names of the variables in systemdFile. */
  passedOn: string[];
}

// docker's scanner gives up at 64 KiB a line.
const MAX_DOCKER_LINE_BYTES = 60 * 1024;
// Linux: MAX_ARG_STRLEN, the most that one variable and its name can have, with the ending zero.
const MAX_VARIABLE_BYTES = 128 * 1024 - 1;
const MAX_PLAIN_BYTES = 32 * 1024;
// Read by the docker or podman CLI, the dynamic linker, libc, Go's runtime, a shell, or our own Exec lines (DINP_WORD_1): whoever sets
// them could run code as root.
const STEERS_ENGINE =
  /^(?:DINP_.*|ENV|BASH.*|SHELLOPTS|IFS|PS4|CDPATH|LD_.*|GLIBC_.*|GO[A-Z0-9]+|DOCKER_.*|CONTAINERS?_.*|_CONTAINERS_.*|PODMAN_.*|STORAGE_.*|REGISTRY_.*|BUILDKIT_.*|BUILDX_.*|COMPOSE_.*|OTEL_.*|GRPC_.*|MALLOC_.*|SSL_CERT_.*|XDG_.*|LC_.*|GCONV_PATH|LOCPATH|NLSPATH|LANG|LANGUAGE|TZ|TZDIR|TMPDIR|PATH|HOME|USER|TERM|HOSTALIASES|RES_OPTIONS|LOCALDOMAIN|NOTIFY_SOCKET|INVOCATION_ID|JOURNAL_STREAM|LISTEN_.*|[A-Za-z]+_(?:PROXY|proxy))$/;

/**
 * Decides how each variable of an instance reaches it, and writes the files that are needed. Config (`secrets`)
 * wins over plain variables of the same name and never stands in a unit.
 *
 * @param folder absolute path of the folder that will hold the files
 * @throws DinpError refused for names and values that no way can carry
 */
export function splitEnvironment(spec: InstanceSpec, folder: string): SplitEnvironment {
  const plain: Record<string, string> = {};
  const dockerLines: string[] = [];
  const systemdLines: string[] = [];
  const passedOn: string[] = [];
  for (const [name, value] of Object.entries({ ...spec.env, ...spec.secrets })) {
    checkName(name);
    checkValue(name, value);
    const size = Buffer.byteLength(name) + 1 + Buffer.byteLength(value);
    if (!Object.hasOwn(spec.secrets, name) && fitsInUnit(value) && size <= MAX_PLAIN_BYTES) {
      plain[name] = value;
    } else if (!/[\n\r]/.test(value) && size <= MAX_DOCKER_LINE_BYTES) {
      dockerLines.push(`${name}=${value}\n`);
    } else {
      checkPassable(name, value, size);
      systemdLines.push(`${name}="${value.replace(/["\\`$]/g, '\\$&')}"\n`);
      passedOn.push(name);
    }
  }
  return {
    plain,
    dockerFile: fileOf(`${folder}/${spec.name}.env`, dockerLines),
    systemdFile: fileOf(`${folder}/${spec.name}.systemd-env`, systemdLines),
    passedOn,
  };
}

function fileOf(path: string, lines: string[]): EnvironmentFile | undefined {
  return lines.length === 0 ? undefined : { path, text: lines.join('') };
}

function checkName(name: string): void {
  if (name !== '' && fitsInUnit(name) && !/[\s=#"'\\]/.test(name)) return;
  throw new DinpError('refused', `${JSON.stringify(name)} cannot be the name of a variable.`, {
    hint: 'Use letters, digits and underscores, such as DATABASE_URL.',
  });
}

function checkValue(name: string, value: string): void {
  if (value.isWellFormed() && !value.includes('\0')) return;
  throw new DinpError('refused', `The value of ${name} is not text: it has a zero byte or is no valid Unicode.`, {
    hint: 'Encode binary values, for instance as base64.',
  });
}

function checkPassable(name: string, value: string, size: number): void {
  if (size > MAX_VARIABLE_BYTES) {
    throw new DinpError(
      'refused',
      `The value of ${name} has ${size} bytes; Linux passes at most 128 KiB in one variable.`,
      {
        hint: 'Keep such data in a volume or a file of the image.',
      },
    );
  }
  // systemd would refuse the whole file.
  if (/\p{Noncharacter_Code_Point}/u.test(value)) {
    throw new DinpError('refused', `The value of ${name} has characters that are no text (such as U+FFFF).`, {
      hint: 'Encode binary values, for instance as base64.',
    });
  }
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || STEERS_ENGINE.test(name)) {
    throw new DinpError('refused', `On systemd, ${name} cannot have a value of several lines.`, {
      hint: 'Use another name of letters, digits and underscores; names that docker, podman and the system read themselves are not possible.',
    });
  }
}
