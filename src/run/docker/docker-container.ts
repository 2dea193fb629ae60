import { isDeepStrictEqual } from 'node:util';
import type { ContainerCreateOptions, ContainerInspectInfo, HostConfig, MountSettings } from 'dockerode';
import { formatImageRef } from '../../domain/image-ref.ts';
import type { InstanceSpec, RunningInstance } from '../../domain/instance.ts';

export const LABEL = {
  server: 'dinp.server',
  app: 'dinp.app',
  release: 'dinp.release',
  process: 'dinp.process',
  service: 'dinp.service',
  index: 'dinp.index',
  hostPort: 'dinp.host-port',
  oneOff: 'dinp.one-off',
} as const;

/**
 * What usual images need as root before they drop to their own user (nginx, Apache, PostgreSQL, php-fpm, and
 * whatever calls gosu or su-exec): own and read their data folders, change user, signal and replace children,
 * bind port 80. Of Docker's defaults this leaves out raw sockets, device nodes, chroot, file capabilities,
 * audit writes and the capabilities of other processes.
 */
export const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];
/** Threads count too: a large JVM has a few hundred. */
export const PIDS_LIMIT = 2048;
export const LOG_CONFIG = { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } };

/** Volume names as the engine has them: always with our prefix, so that `docker volume ls` tells whose they are. */
export function engineVolumeName(volume: string): string {
  return volume.startsWith('dinp-') ? volume : `dinp-${volume}`;
}

/** The engine counts grace periods in whole seconds: rounded up, so that nobody gets less than asked for. */
export function graceSeconds(stopMs: number): number {
  return Math.ceil(Math.max(0, stopMs) / 1000);
}

/** What to ask the engine for, to run an instance that the engine keeps alive by itself. */
export function instanceOptions(spec: InstanceSpec, serverId: string): ContainerCreateOptions {
  const port = spec.port === undefined ? undefined : `${spec.port.container}/tcp`;
  return {
    ...commonOptions(spec, serverId),
    name: spec.name,
    ...(spec.command === undefined ? {} : { Cmd: spec.command }),
    ...(port === undefined ? {} : { ExposedPorts: { [port]: {} } }),
    HostConfig: {
      ...hostConfig(spec, serverId),
      // Comes back after a crash (with the engine's growing pauses) and after a restart of the engine or machine,
      // but not after somebody stopped it on purpose.
      RestartPolicy: { Name: 'unless-stopped' },
      LogConfig: LOG_CONFIG,
      ...(port === undefined || spec.port === undefined
        ? {}
        : { PortBindings: { [port]: [{ HostIp: '127.0.0.1', HostPort: String(spec.port.host) }] } }),
    },
  };
}

/** A fresh container of the instance's image for one command, which the engine removes when it ends. */
export function oneOffOptions(
  spec: InstanceSpec,
  command: string[],
  options: { serverId: string; name: string; stdin: boolean },
): ContainerCreateOptions {
  const common = commonOptions(spec, options.serverId);
  return {
    ...common,
    name: options.name,
    Cmd: command,
    Labels: { ...common.Labels, [LABEL.oneOff]: 'true' },
    AttachStdout: true,
    AttachStderr: true,
    AttachStdin: options.stdin,
    OpenStdin: options.stdin,
    StdinOnce: options.stdin,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...hostConfig(spec, options.serverId),
      AutoRemove: true,
      // Its output goes to whoever is attached and is kept nowhere else.
      LogConfig: { Type: 'none', Config: {} },
    },
  };
}

function commonOptions(spec: InstanceSpec, serverId: string): ContainerCreateOptions {
  const env = { ...spec.env, ...spec.secrets };
  return {
    Image: formatImageRef(spec.image),
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    StopTimeout: graceSeconds(spec.stopMs),
    Labels: {
      [LABEL.server]: serverId,
      [LABEL.app]: spec.app,
      [LABEL.release]: String(spec.release),
      [LABEL.process]: spec.process,
      [LABEL.service]: spec.service,
      [LABEL.index]: String(spec.index),
      ...(spec.port === undefined ? {} : { [LABEL.hostPort]: String(spec.port.host) }),
    },
  };
}

function hostConfig(spec: InstanceSpec, serverId: string): HostConfig {
  return {
    Init: true,
    Memory: spec.memoryBytes,
    // The same as Memory: no swap, so that the limit means what it says.
    MemorySwap: spec.memoryBytes,
    PidsLimit: PIDS_LIMIT,
    CapDrop: ['ALL'],
    CapAdd: CAPABILITIES,
    SecurityOpt: ['no-new-privileges'],
    Mounts: volumeMounts(spec, serverId),
  };
}

/**
 * Whether a container is what `options` (of `instanceOptions`) would make: the same image by digest, release, port,
 * environment and command. One that has only the name in common is what an app destroyed since, or a lost
 * port, left behind.
 */
export function isMadeOf(info: ContainerInspectInfo, options: ContainerCreateOptions): boolean {
  const { Config: config, HostConfig: host } = info;
  const isIn = (found: Record<string, unknown>, wanted: Record<string, unknown> = {}) =>
    Object.entries(wanted).every(([key, value]) => isDeepStrictEqual(found[key], value));
  const env = new Set(config.Env);
  return (
    config.Image === options.Image &&
    isIn(config.Labels, options.Labels) &&
    (options.Env ?? []).every((pair) => env.has(pair)) &&
    (options.Cmd === undefined || isDeepStrictEqual(config.Cmd, options.Cmd)) &&
    isIn((host.PortBindings ?? {}) as Record<string, unknown>, options.HostConfig?.PortBindings)
  );
}

/** Translates the engine's view of a container of ours. */
export function runningInstance(info: ContainerInspectInfo): RunningInstance {
  const labels = info.Config.Labels;
  const state = stateOf(info.State);
  const stopped = state === 'exited' || state === 'restarting';
  const health = info.State.Health?.Status;
  const port = Number(labels[LABEL.hostPort]);
  return {
    name: info.Name.replace(/^\//, ''),
    app: labels[LABEL.app] ?? '',
    release: Number(labels[LABEL.release]),
    process: labels[LABEL.process] ?? '',
    index: Number(labels[LABEL.index]),
    state,
    exitCode: stopped ? info.State.ExitCode : undefined,
    healthy: health === 'healthy' ? true : health === 'unhealthy' ? false : undefined,
    startedAt: timeOf(info.State.StartedAt),
    restarts: info.RestartCount,
    hostPort: Number.isInteger(port) ? port : undefined,
    exitedAt: timeOf(info.State.FinishedAt),
    outOfMemory: info.State.OOMKilled,
    address: addressOf(info),
    healthCommand: healthCommand(info.Config.Healthcheck?.Test),
  };
}

/** "starting": made but not yet started, or running while the image's HEALTHCHECK has no verdict yet. */
function stateOf(state: ContainerInspectInfo['State']): RunningInstance['state'] {
  switch (state.Status) {
    case 'created':
      return 'starting';
    case 'restarting':
      return 'restarting';
    case 'running':
    case 'paused':
      return state.Health?.Status === 'starting' ? 'starting' : 'running';
    default:
      return 'exited';
  }
}

/** The engine writes year 1 for "never". */
function timeOf(text: string): number | undefined {
  const time = Date.parse(text);
  return time > 0 ? time : undefined;
}

function addressOf(info: ContainerInspectInfo): string | undefined {
  const addresses = Object.values(info.NetworkSettings.Networks).map((network) => network.IPAddress);
  return addresses.find((address) => address !== '');
}

function healthCommand(test: string[] | undefined): string[] | undefined {
  if (test?.[0] === 'CMD') return test.slice(1);
  if (test?.[0] === 'CMD-SHELL' && test[1] !== undefined) return ['/bin/sh', '-c', test[1]];
  return undefined;
}

/** The volumes of an instance, as the engine's API takes them; those that are missing are made, with our label. */
export function volumeMounts(spec: Pick<InstanceSpec, 'volumes'>, serverId: string): MountSettings[] {
  return Object.entries(spec.volumes).map(([volume, path]) => ({
    Type: 'volume' as const,
    Source: engineVolumeName(volume),
    Target: path,
    VolumeOptions: {
      NoCopy: false,
      Labels: { [LABEL.server]: serverId },
      DriverConfig: { Name: 'local', Options: {} },
    },
  }));
}
