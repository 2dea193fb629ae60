import { readFileSync } from 'node:fs';
import { formatImageRef, isLoopbackRepository } from '../domain/image-ref.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { UnitFile } from '../domain/unit-file.ts';
import {
  CAPABILITIES,
  instanceLabels,
  mounts,
  type OneOff,
  oneOffCommand,
  PIDS_LIMIT,
  stopSeconds,
} from './docker-command.ts';
import { type EnvironmentFile, splitEnvironment } from './environment.ts';
import { checkOptions, PULL_SECONDS, runBySystemd, STOP_MARGIN_SECONDS, unitFacts } from './run-unit.ts';
import { loadTemplate, type UnitTemplate } from './template.ts';
import { passesQuadlet } from './values.ts';
import type { ExecWord } from './words.ts';

/** What quadlets need to know about the machine that they will run on. */
export interface QuadletOptions {
  /** Absolute path of podman there, for one-off commands. */
  podman: string;
  /** Which dinp server the instances belong to; letters, digits, `.`, `_` and `-`. */
  server: string;
  /** Folder of the files, readable by root only, that hold the instances' config values. */
  environmentFolder: string;
}

/**
 * Renders instances as `.container` files, of which podman's generator makes services of systemd
 * (podman-systemd.unit(5), Podman 5 or later).
 */
export class QuadletUnits {
  readonly #template: UnitTemplate;
  readonly #options: QuadletOptions;

  /**
   * @param templateFolder folder with `quadlet-run.container.hbs` and its partial
   * @throws DinpError config for options that no unit can hold
   */
  constructor(templateFolder: string, options: QuadletOptions) {
    checkOptions({ ...options, docker: options.podman });
    const read = (file: string) => readFileSync(`${templateFolder}/${file}`, 'utf8');
    this.#options = options;
    this.#template = loadTemplate('quadlet-run', read('quadlet-run.container.hbs'), {
      facts: read('facts.partial.hbs'),
    });
  }

  /**
   * The file of each instance. No config value is in it: those are in the files that environmentFiles() gives, which
   * must be on the machine before the unit starts.
   * @throws DinpError refused for values that cannot be carried (control characters in a command)
   */
  render(specs: InstanceSpec[]): UnitFile[] {
    return specs.map((spec) => ({ name: `${spec.name}.container`, text: this.#template(this.#values(spec)) }));
  }

  /** The files with config values that an instance's unit names; only root may read them. @throws DinpError refused */
  environmentFiles(spec: InstanceSpec): EnvironmentFile[] {
    const { dockerFile, systemdFile } = splitEnvironment(spec, this.#options.environmentFolder);
    return [dockerFile, systemdFile].filter((file) => file !== undefined);
  }

  /** How to run one command in a fresh container of the instance's image: put the files, run the argv, remove the files. */
  oneOff(spec: InstanceSpec, oneOff: OneOff): { argv: string[]; files: EnvironmentFile[] } {
    const { podman, environmentFolder } = this.#options;
    const renamed = { ...spec, name: oneOff.name };
    const argv = oneOffCommand(spec, oneOff, { ...this.#options, docker: podman }, { volumeLabels: false });
    const { systemdFile } = splitEnvironment(renamed, environmentFolder);
    const files = this.environmentFiles(renamed);
    return { argv: systemdFile === undefined ? argv : runBySystemd(argv, systemdFile), files };
  }

  #values(spec: InstanceSpec): Record<string, unknown> {
    const { server, environmentFolder } = this.#options;
    const split = splitEnvironment(spec, environmentFolder);
    const { words, variables } = asVariables(spec.command ?? []);
    const { port } = spec;
    return {
      ...unitFacts(spec, server),
      name: spec.name,
      image: formatImageRef(spec.image),
      command: words.length === 0 ? undefined : words,
      variables,
      environment: Object.entries(split.plain).map(([name, value]) => [`${name}=${value}`]),
      containerFiles: pathsOf(split.dockerFile),
      serviceFiles: pathsOf(split.systemdFile),
      publish: port && `${port.address ?? '127.0.0.1'}:${port.host}:${port.container}`,
      mounts: mounts(spec, undefined).map((mount) => [mount]),
      labels: instanceLabels(spec, server).map((label) => [label]),
      capabilities: CAPABILITIES.join(' '),
      pidsLimit: PIDS_LIMIT,
      podmanArgs: podmanArgs(spec, split.passedOn),
      startSeconds: PULL_SECONDS,
      stopSeconds: stopSeconds(spec) + STOP_MARGIN_SECONDS,
    };
  }
}

/** What has no key of its own in every Podman 5, a line each. */
function podmanArgs(spec: InstanceSpec, passedOn: string[]): string[][] {
  return [
    // The same as the memory: no swap, so that the limit means what it says.
    [`--memory=${spec.memoryBytes}`, `--memory-swap=${spec.memoryBytes}`],
    ...(isLoopbackRepository(spec.image.repository) ? [['--tls-verify=false']] : []),
    ...passedOn.map((name) => [`--env=${name}`]),
  ];
}

/** Words that quadlet does not pass on become variables of the service, which systemd puts in as one word each. */
function asVariables(command: string[]): { words: ExecWord[]; variables: { name: string; value: string }[] } {
  const variables: { name: string; value: string }[] = [];
  const words = command.map((word) => {
    if (passesQuadlet(word)) return word;
    const name = `DINP_WORD_${variables.length + 1}`;
    variables.push({ name, value: word });
    return { variable: name };
  });
  return { words, variables };
}

function pathsOf(file: EnvironmentFile | undefined): { path: string }[] {
  return file === undefined ? [] : [{ path: file.path }];
}
