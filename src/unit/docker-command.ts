import { formatImageRef } from '../domain/image-ref.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import { splitEnvironment } from './environment.ts';

/** What units need to know about the machine that they will run on. */
export interface RunUnitOptions {
  /** Absolute path of the docker CLI there. */
  docker: string;
  /** Which dinp server the instances belong to; letters, digits, `.`, `_` and `-`. */
  server: string;
  /** Folder of the files, readable by root only, that hold the instances' config values. */
  environmentFolder: string;
  /** `key=value` each: only machines of fleet that have them run anything. */
  fleetMetadata?: readonly string[];
}

/**
 * What usual images need as root before they drop to their own user (nginx, Apache, PostgreSQL, php-fpm, and
 * whatever calls gosu or su-exec): own and read their data folders, change user, signal and replace children, bind
 * port 80. Left out of Docker's defaults: raw sockets, device nodes, chroot, file capabilities, audit writes.
 */
export const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];
/** Threads count too: a large JVM has a few hundred. */
export const PIDS_LIMIT = 2048;

/** SIGTERM to SIGKILL in whole seconds, rounded up, so that nobody gets less than asked for. */
export function stopSeconds({ stopMs }: { stopMs: number }): number {
  return Math.ceil(Math.max(0, stopMs) / 1000);
}

/**
 * The `docker run` of an instance in the foreground: its output is that of the command, so it ends up in the
 * journal, which is bounded; the engine itself keeps no log.
 */
export function runCommand(spec: InstanceSpec, options: RunUnitOptions): string[] {
  const port = spec.port;
  return [
    ...[options.docker, 'run', '--rm', '--init', `--name=${spec.name}`],
    ...instanceLabels(spec, options.server).map((label) => `--label=${label}`),
    '--log-driver=none',
    ...limits(spec),
    ...(port === undefined ? [] : [`--publish=${port.address ?? '127.0.0.1'}:${port.host}:${port.container}`]),
    ...mounts(spec, options.server).map((mount) => `--mount=${mount}`),
    ...environment(spec, options),
    formatImageRef(spec.image),
    ...(spec.command ?? []),
  ];
}

/** What a one-off command needs besides the instance. */
export interface OneOff {
  /** Of its container and of its environment files. */
  name: string;
  command: string[];
  /** Whether something will be written to its standard input. */
  stdin: boolean;
}

/**
 * The `docker run` of one command in a fresh container of the instance's image, without its port; `podman run` takes the
 * same but for the labels of volumes.
 */
export function oneOffCommand(
  spec: InstanceSpec,
  oneOff: OneOff,
  options: RunUnitOptions,
  { volumeLabels } = { volumeLabels: true },
): string[] {
  return [
    ...[options.docker, 'run', '--rm', '--init', `--name=${oneOff.name}`, '--no-healthcheck'],
    ...(oneOff.stdin ? ['--interactive'] : []),
    ...instanceLabels(spec, options.server).map((label) => `--label=${label}`),
    '--label=dinp.one-off=true',
    '--log-driver=none',
    ...limits(spec),
    ...mounts(spec, volumeLabels ? options.server : undefined).map((mount) => `--mount=${mount}`),
    ...environment({ ...spec, name: oneOff.name }, options),
    formatImageRef(spec.image),
    ...oneOff.command,
  ];
}

/**
 * What has to be done before the container can start: a leftover of the same name goes, and the image is there.
 * A local image asks no registry, so that instances come back while the registry is down.
 */
export function prepareCommand(spec: InstanceSpec, docker: string): string[] {
  const script =
    '"$0" rm --force "$1" >/dev/null 2>&1; "$0" image inspect "$2" >/dev/null 2>&1 || exec "$0" pull --quiet "$2" >/dev/null';
  return ['/bin/sh', '-c', script, docker, spec.name, formatImageRef(spec.image)];
}

/** Stops the container. Says nothing: what a unit prints is read as the instance's output. */
export function stopCommand(spec: InstanceSpec, docker: string): string[] {
  const script = '"$0" stop --time="$1" "$2" >/dev/null 2>&1 || true';
  return ['/bin/sh', '-c', script, docker, String(stopSeconds(spec)), spec.name];
}

/** Removes the container where the docker CLI was killed and could not; usually there is none, and it says nothing. */
export function cleanUpCommand(spec: InstanceSpec, docker: string): string[] {
  return ['/bin/sh', '-c', '"$0" rm --force "$1" >/dev/null 2>&1 || true', docker, spec.name];
}

/**
 * `dinp.unit-server` and not `dinp.server`: the docker target of the same server must not take containers that
 * systemd keeps alive for its own.
 */
export function instanceLabels(spec: InstanceSpec, server: string): string[] {
  return [
    `dinp.unit-server=${server}`,
    `dinp.app=${spec.app}`,
    `dinp.release=${spec.release}`,
    `dinp.process=${spec.process}`,
    `dinp.service=${spec.service}`,
    `dinp.index=${spec.index}`,
    ...(spec.port === undefined ? [] : [`dinp.host-port=${spec.port.host}`]),
  ];
}

function limits(spec: InstanceSpec): string[] {
  return [
    `--memory=${spec.memoryBytes}`,
    // The same as the memory: no swap, so that the limit means what it says.
    `--memory-swap=${spec.memoryBytes}`,
    `--pids-limit=${PIDS_LIMIT}`,
    '--security-opt=no-new-privileges',
    '--cap-drop=ALL',
    ...CAPABILITIES.map((capability) => `--cap-add=${capability}`),
    `--stop-timeout=${stopSeconds(spec)}`,
  ];
}

/** The volumes of an instance as --mount takes them, with a label of the server where one is given. */
export function mounts(spec: InstanceSpec, server: string | undefined): string[] {
  return Object.entries(spec.volumes).map(([volume, path]) => {
    const fields = [
      'type=volume',
      `source=${volume.startsWith('dinp-') ? volume : `dinp-${volume}`}`,
      `target=${path}`,
      ...(server === undefined ? [] : [`volume-label=dinp.server=${server}`]),
    ];
    return fields.map(csvField).join(',');
  });
}

/** docker reads --mount as one line of CSV (RFC 4180). */
function csvField(field: string): string {
  return /[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

function environment(spec: InstanceSpec, options: RunUnitOptions): string[] {
  const split = splitEnvironment(spec, options.environmentFolder);
  return [
    ...(split.dockerFile === undefined ? [] : [`--env-file=${split.dockerFile.path}`]),
    ...split.passedOn.map((name) => `--env=${name}`),
    ...Object.entries(split.plain).map(([name, value]) => `--env=${name}=${value}`),
  ];
}
