import { DinpError } from '../domain/errors.ts';
import { DEFAULT_HEALTH, type Process } from '../domain/process.ts';
import type { AppJson } from './app-json.ts';
import type { Manifest } from './manifest-schema.ts';
import type { Procfile } from './procfile.ts';

const DEFAULT_MEMORY = 256 * 1024 * 1024;
/** A Java machine of today with a framework in it does not start with less. */
const JAVA_MEMORY = 512 * 1024 * 1024;
const DEFAULT_STOP_MS = 30_000;
const WEB = 'web';

export interface PlannedProcesses {
  processes: Process[];
  release: string[] | undefined;
  /** Every command that runs inside the image, and where it was written. */
  commands: { where: string; command: readonly string[] }[];
  notes: string[];
}

/** What the commit says of how it is run. */
interface Asked {
  manifest: Manifest;
  procfile?: Procfile | undefined;
  /** What counts of instances and health where dinp.yml says nothing of them. */
  appJson?: AppJson | undefined;
}

/** What is run. */
interface Packed {
  /** Kind of the artifact; undefined for an image of a Dockerfile or one by address. */
  artifact?: string | undefined;
  /** Whether the image has a command of its own, for processes without one. */
  imageStarts: boolean;
}

/**
 * The processes of a service: those that dinp.yml or the Procfile name (dinp.yml's word on each wins), else `web` alone.
 * @throws DinpError refused for a process that nothing says how to start, and for health checks that cannot work
 */
export function planProcesses(
  { manifest, procfile, appJson }: Asked,
  { artifact, imageStarts }: Packed,
): PlannedProcesses {
  const isJava = artifact === 'war' || artifact === 'jar';
  const memory = manifest.memory ?? (isJava ? JAVA_MEMORY : DEFAULT_MEMORY);
  const own = manifest.processes ?? {};
  const named = [...new Set([...(procfile?.processes.keys() ?? []), ...Object.keys(own)])];
  const names = named.length === 0 ? [WEB] : named;
  const processes = names.map((name) =>
    planProcess(name, own[name] ?? {}, { ...manifest, memory }, procfile?.processes.get(name), appJson),
  );
  for (const process of processes) checkProcess(process, imageStarts);
  const release = manifest.release ?? procfile?.release;
  const commands = processes.flatMap(({ name, command, health }) => [
    ...(command === undefined ? [] : [{ where: `The command of ${name}`, command }]),
    ...(health.command === undefined
      ? []
      : [{ where: `The health check of ${name}`, command: ['/bin/sh', '-c', health.command] }]),
  ]);
  if (release !== undefined) commands.push({ where: 'The release command', command: release });
  const unknown = [...(appJson?.instances.keys() ?? []), ...(appJson?.health.keys() ?? [])].filter(
    (name) => !names.includes(name),
  );
  const notes = names.includes(WEB) ? [] : ['There is no process called web, so the app gets no address.'];
  if (unknown.length > 0)
    notes.push(`app.json names ${[...new Set(unknown)].join(', ')}, which no Procfile or dinp.yml has a command for.`);
  return { processes, release, commands, notes };
}

type OwnSettings = NonNullable<Manifest['processes']>[string];

function planProcess(
  name: string,
  own: OwnSettings,
  manifest: Manifest & { memory: number },
  fromProcfile: string[] | undefined,
  appJson: AppJson | undefined,
): Process {
  // What the top level says of port and health is about the address, which only web has.
  const top: Manifest = name === WEB ? manifest : {};
  const port = ('port' in own ? own.port : undefined) ?? top.port;
  return {
    name,
    command: ('command' in own ? own.command : undefined) ?? fromProcfile,
    instances:
      ('instances' in own ? own.instances : undefined) ?? manifest.instances ?? appJson?.instances.get(name) ?? 1,
    memoryBytes: ('memory' in own ? own.memory : undefined) ?? manifest.memory,
    port: port === 'auto' ? undefined : port,
    health: ('health' in own ? own.health : undefined) ?? top.health ?? appJson?.health.get(name) ?? DEFAULT_HEALTH,
    stopMs: ('stop' in own ? own.stop : undefined) ?? manifest.stop ?? DEFAULT_STOP_MS,
    volumes: manifest.volumes ?? {},
  };
}

function checkProcess({ name, command, port, health }: Process, imageStarts: boolean): void {
  if (command === undefined && !imageStarts) {
    throw new DinpError('refused', `Nothing says how the process ${name} is started.`, {
      hint: `Write into dinp.yml:\n  processes:\n    ${name}: ./PROGRAM`,
    });
  }
  if (command === undefined && name !== WEB) {
    throw new DinpError('refused', `The process ${name} has no command, and the image's own is for web.`, {
      hint: `Write into dinp.yml:\n  processes:\n    ${name}: COMMAND`,
    });
  }
  if (name !== WEB && port === undefined && (health.kind === 'http' || health.kind === 'tcp')) {
    throw new DinpError('refused', `The health check of ${name} needs a port, and ${name} has none.`, {
      hint: `Give it one in dinp.yml (port: 9000), or check it with a command.`,
    });
  }
}
