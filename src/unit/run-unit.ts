import { readFileSync } from 'node:fs';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { UnitFile } from '../domain/unit-file.ts';
import {
  cleanUpCommand,
  type OneOff,
  oneOffCommand,
  prepareCommand,
  type RunUnitOptions,
  runCommand,
  stopCommand,
  stopSeconds,
} from './docker-command.ts';
import { type EnvironmentFile, splitEnvironment } from './environment.ts';
import { fleetSection } from './fleet-section.ts';
import { loadTemplate, type UnitTemplate } from './template.ts';
import { encodeArgv } from './values.ts';
import type { ExecWord } from './words.ts';

/** The kinds that run `docker run` from a unit of systemd. */
export type RunUnitKind = 'systemd' | 'fleet';

/** fleet refuses a unit with a longer line: 2048 bytes with its end. */
const MAX_FLEET_LINE_BYTES = 2047;
/** Which machine fleet will choose is not known when the unit is written. */
const ANY_ADDRESS = '0.0.0.0';
export const PULL_SECONDS = 600;
/** What the engine may take, beyond the grace period, to kill and remove a container. */
export const STOP_MARGIN_SECONDS = 20;

/** Renders the run units of instances; made once, with the templates of a folder. */
export class RunUnits {
  readonly #templates: Record<RunUnitKind | 'fleetOnce', UnitTemplate>;
  readonly #options: RunUnitOptions;

  /**
   * @param templateFolder folder with `systemd-run.service.hbs`, `fleet-run.service.hbs`, `fleet-once.service.hbs` and their partials
   * @throws DinpError config for options that no unit can hold
   */
  constructor(templateFolder: string, options: RunUnitOptions) {
    checkOptions(options);
    const read = (file: string) => readFileSync(`${templateFolder}/${file}`, 'utf8');
    const partials = Object.fromEntries(['run', 'facts', 'fleet'].map((name) => [name, read(`${name}.partial.hbs`)]));
    this.#options = options;
    this.#templates = {
      systemd: loadTemplate('systemd-run', read('systemd-run.service.hbs'), partials),
      fleet: loadTemplate('fleet-run', read('fleet-run.service.hbs'), partials),
      fleetOnce: loadTemplate('fleet-once', read('fleet-once.service.hbs'), partials),
    };
  }

  /**
   * The unit file of each instance. No config value is in it: those are in the files that environmentFiles() gives,
   * which must be on the machine before the unit starts.
   * @throws DinpError refused for values that cannot be carried (control characters in a command, lines too long)
   */
  render(specs: InstanceSpec[], kind: RunUnitKind = 'systemd'): UnitFile[] {
    return specs.map((spec) => ({
      name: `${spec.name}.service`,
      text: checkLines(kind, spec, this.#templates[kind](this.#values(spec, kind))),
    }));
  }

  /**
   * A unit for fleet that runs one command once, in a fresh container of the instance's image and without its port.
   * @throws DinpError refused
   */
  renderFleetOnce(spec: InstanceSpec, oneOff: { name: string; command: string[] }): UnitFile {
    // It runs once, wherever there is room.
    const renamed = { ...spec, name: oneOff.name, fleet: { ...spec.fleet, Global: undefined, spread: false } };
    const run = shorten(oneOffCommand(spec, { ...oneOff, stdin: false }, this.#options));
    const values = {
      ...this.#values(renamed, 'fleet'),
      description: `dinp: ${spec.app} v${spec.release}, one command`,
      run: run.words,
      variables: run.variables,
    };
    return { name: `${oneOff.name}.service`, text: checkLines('fleet', renamed, this.#templates.fleetOnce(values)) };
  }

  /**
   * The files with config values that an instance's unit names; only root may read them.
   * @throws DinpError refused
   */
  environmentFiles(spec: InstanceSpec): EnvironmentFile[] {
    const { dockerFile, systemdFile } = splitEnvironment(spec, this.#options.environmentFolder);
    return [dockerFile, systemdFile].filter((file) => file !== undefined);
  }

  /**
   * How to run one command in a fresh container of the instance's image. Put the files where they belong, run the
   * argv, remove the files. Values of several lines reach docker by systemd-run, which reads them from their file.
   */
  oneOff(spec: InstanceSpec, oneOff: OneOff): { argv: string[]; files: EnvironmentFile[] } {
    const renamed = { ...spec, name: oneOff.name };
    const argv = oneOffCommand(spec, oneOff, this.#options);
    const files = this.environmentFiles(renamed);
    const { systemdFile } = splitEnvironment(renamed, this.#options.environmentFolder);
    return { argv: systemdFile === undefined ? argv : runBySystemd(argv, systemdFile), files };
  }

  #values(spec: InstanceSpec, kind: RunUnitKind): Record<string, unknown> {
    const { docker, server, environmentFolder, fleetMetadata = [] } = this.#options;
    const { systemdFile } = splitEnvironment(spec, environmentFolder);
    const run = runCommand(kind === 'fleet' ? anywhere(spec) : spec, this.#options);
    const { words, variables } = kind === 'fleet' ? shorten(run) : { words: run, variables: [] };
    return {
      name: spec.name,
      variables,
      environmentFiles: systemdFile === undefined ? [] : [{ path: systemdFile.path }],
      prepare: prepareCommand(spec, docker),
      run: words,
      stop: stopCommand(spec, docker),
      cleanUp: cleanUpCommand(spec, docker),
      startSeconds: PULL_SECONDS,
      stopSeconds: stopSeconds(spec) + STOP_MARGIN_SECONDS,
      ...unitFacts(spec, server),
      ...(kind === 'fleet' && { fleet: fleetSection(spec, fleetMetadata) }),
    };
  }
}

/** What the units of an instance say of it, whatever runs them. */
export function unitFacts(spec: InstanceSpec, server: string): Record<string, unknown> {
  return {
    description: `dinp: ${spec.app} v${spec.release}, ${spec.process} ${spec.index}`,
    server,
    app: spec.app,
    release: spec.release,
    service: spec.service,
    process: spec.process,
    index: spec.index,
    hostPort: spec.port?.host,
    graceSeconds: stopSeconds(spec),
  };
}

/** Puts a command into a unit of its own for as long as it runs, whose environment is that of the file. */
export function runBySystemd(argv: string[], file: EnvironmentFile): string[] {
  const launcher = ['systemd-run', '--quiet', '--pipe', '--wait', '--collect'];
  // systemd expands variables in what it runs, also when it came by systemd-run.
  const words = argv.map((word) => word.replaceAll('$', '$$$$'));
  return [...launcher, `--property=EnvironmentFile=${file.path}`, '--', ...words];
}

function anywhere(spec: InstanceSpec): InstanceSpec {
  return { ...spec, port: spec.port && { ...spec.port, address: ANY_ADDRESS } };
}

/** Moves the longest words of a command into variables of the unit until its line is short enough for fleet. */
function shorten(command: string[]): { words: ExecWord[]; variables: { name: string; value: string }[] } {
  const words: ExecWord[] = [...command];
  const variables: { name: string; value: string }[] = [];
  const lineBytes = () => Buffer.byteLength(`ExecStart=${encodeArgv(words)}`);
  while (lineBytes() > MAX_FLEET_LINE_BYTES) {
    const longest = words
      .map((word, index) => ({ index, size: typeof word === 'string' && index > 0 ? Buffer.byteLength(word) : 0 }))
      .reduce((a, b) => (b.size > a.size ? b : a));
    // A variable is no shorter than this: nothing is left to gain.
    if (longest.size < '${DINP_WORD_99}'.length) break;
    const name = `DINP_WORD_${variables.length + 1}`;
    variables.push({ name, value: words[longest.index] as string });
    words[longest.index] = { variable: name };
  }
  return { words, variables };
}

function checkLines(kind: RunUnitKind, spec: InstanceSpec, text: string): string {
  if (kind === 'systemd') return text;
  const long = text.split('\n').find((line) => Buffer.byteLength(line) > MAX_FLEET_LINE_BYTES);
  if (long === undefined) return text;
  const key = long.slice(0, long.indexOf('='));
  throw new DinpError(
    'refused',
    `The unit of ${spec.name} has a ${key} line of ${Buffer.byteLength(long)} bytes; fleet takes ${MAX_FLEET_LINE_BYTES}.`,
    { hint: 'Shorten the command or the variable, or put the value into config: dinp config set.' },
  );
}

export function checkOptions({ docker, server, environmentFolder }: RunUnitOptions): void {
  if (!/^[A-Za-z0-9._-]+$/.test(server)) {
    throw new DinpError('config', `${JSON.stringify(server)} cannot be the server's name in units.`, {
      hint: 'Use letters, digits, ".", "_" and "-".',
    });
  }
  for (const path of [docker, environmentFolder]) {
    if (/^\/[A-Za-z0-9._/@+-]+$/.test(path)) continue;
    throw new DinpError('config', `${JSON.stringify(path)} is no absolute path that units can use.`);
  }
}
