import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { UnitFile } from '../domain/unit-file.ts';
import { loadTemplate, type UnitTemplate } from './template.ts';

/** What a build unit does, and where. */
export interface BuildUnit {
  /** Of the unit, without `.service`. */
  name: string;
  app: string;
  buildNumber: number;
  /** Folder for this build alone that only root can read: `fetch` (a config of curl's) and `config.json` (of docker's) are in it. */
  folder: string;
  /** Absolute paths of the programs on the host. */
  docker: string;
  curl: string;
  builder: 'buildkit' | 'classic';
  dockerfile: string;
  stage: string | undefined;
  args: Record<string, string>;
  labels: Record<string, string>;
  noCache: boolean;
  /** Repository and tag that it is pushed to. */
  image: string;
  limits: { memoryBytes: number; cpus: number };
  timeoutMs: number;
}

/** Which part of a build each of the unit's commands belongs to, in their order. */
export const BUILD_COMMANDS = ['fetch', 'other', 'build', 'push', 'other', 'other'] as const;
/** Where the context lies, in the unit's own temporary folder. */
export const CONTEXT_FILE = '/var/tmp/context.tar';
const CPU_PERIOD = 100_000;
/** The way to the registry may be away for a moment: it ends with an SSH connection, which comes back. */
const PUSH = 'n=1; until "$0" push "$1"; do [ $n -lt 5 ] || exit 1; sleep $n; n=$((n + 1)); done';

/** Renders the units of builds; made once, with the template of a folder. */
export class BuildUnits {
  readonly #template: UnitTemplate;

  /** @param templateFolder folder with `build.service.hbs` */
  constructor(templateFolder: string) {
    this.#template = loadTemplate('build', readFileSync(`${templateFolder}/build.service.hbs`, 'utf8'));
  }

  /**
   * The unit file of a build. Neither token nor password is in it: those are in its folder.
   * @throws DinpError refused for values that no unit can hold (line breaks in a build argument)
   */
  render(unit: BuildUnit): UnitFile {
    const { name, folder, docker, image } = unit;
    const text = this.#template({
      description: `dinp: build ${unit.buildNumber} of ${unit.app}`,
      folder,
      parent: dirname(folder),
      buildKit: unit.builder === 'buildkit' ? '1' : '0',
      timeoutSeconds: Math.ceil(unit.timeoutMs / 1000),
      // -q: whatever root's own ~/.curlrc says.
      fetch: [unit.curl, '-q', '--config', `${folder}/fetch`],
      forget: ['/bin/rm', '-f', '--', `${folder}/fetch`],
      build: ['/bin/sh', '-c', 'exec "$@" <"$0"', CONTEXT_FILE, docker, ...buildCommand(unit), '-'],
      push: ['/bin/sh', '-c', PUSH, docker, image],
      untag: ['/bin/sh', '-c', '"$0" image rm "$1" >/dev/null 2>&1 || :', docker, image],
      cleanUp: ['/bin/rm', '-rf', '--', folder],
    });
    return { name: `${name}.service`, text };
  }
}

function buildCommand(unit: BuildUnit): string[] {
  const { builder, stage, limits } = unit;
  return [
    'build',
    ...(builder === 'buildkit' ? ['--progress=plain'] : classicLimits(limits)),
    ...(unit.noCache ? ['--no-cache'] : []),
    ...(stage === undefined ? [] : [`--target=${stage}`]),
    ...Object.entries(unit.args).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...Object.entries(unit.labels).map(([name, value]) => `--label=${name}=${value}`),
    `--file=${unit.dockerfile}`,
    `--tag=${unit.image}`,
  ];
}

/** BuildKit has no limits per build. */
function classicLimits({ memoryBytes, cpus }: BuildUnit['limits']): string[] {
  return [
    '--force-rm',
    `--memory=${memoryBytes}`,
    `--memory-swap=${memoryBytes}`,
    `--cpu-period=${CPU_PERIOD}`,
    `--cpu-quota=${Math.round(cpus * CPU_PERIOD)}`,
  ];
}
