import { randomBytes } from 'node:crypto';
import type { ContainerCreateOptions } from 'dockerode';
import { LABEL } from '../docker/docker-container.ts';

/** One build in a toolchain container. */
export interface ToolchainJob {
  app: string;
  appId: number;
  /** Id of the build, which names the container. */
  build: number;
  /** Image of the toolchain, as the engine knows it. */
  image: string;
  /** Absolute folder that gets the sources. */
  workdir: string;
  env: Record<string, string>;
}

export interface ToolchainLimits {
  memoryBytes: number;
  cpus: number;
}

/** Where the app's cache is mounted, which is also HOME. */
export const CACHE = '/cache';

/**
 * What building as root needs: installing packages (dpkg, pip and npm set owners and modes of what they unpack), changing to
 * another user for tests, ending children. No raw sockets, devices, chroot, mounts or low ports.
 */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID'];
/** Threads count too: parallel compilers and JVMs have many. */
const PIDS_LIMIT = 4096;

/** Where package managers keep what they download: in the app's cache, whatever they think HOME is. */
const CACHE_ENV: Record<string, string> = {
  HOME: CACHE,
  XDG_CACHE_HOME: `${CACHE}/xdg`,
  // Maven takes the home folder of /etc/passwd for its own.
  MAVEN_OPTS: `-Dmaven.repo.local=${CACHE}/maven`,
  GRADLE_USER_HOME: `${CACHE}/gradle`,
  npm_config_cache: `${CACHE}/npm`,
  npm_config_store_dir: `${CACHE}/pnpm`,
  YARN_CACHE_FOLDER: `${CACHE}/yarn`,
  GOCACHE: `${CACHE}/go-build`,
  GOMODCACHE: `${CACHE}/go-mod`,
  CARGO_HOME: `${CACHE}/cargo`,
  PIP_CACHE_DIR: `${CACHE}/pip`,
  UV_CACHE_DIR: `${CACHE}/uv`,
  COMPOSER_CACHE_DIR: `${CACHE}/composer`,
  NUGET_PACKAGES: `${CACHE}/nuget`,
  CCACHE_DIR: `${CACHE}/ccache`,
};

/** The engine's name of an app's cache; no volume of an app can have it, for those have `--` in their names. */
export function cacheVolume(app: string): string {
  return `dinp-cache-${app}`;
}

/**
 * What to ask the engine for. The first process only waits for the end of its input, which this server holds open: when the
 * server dies, the container and all that runs in it end by themselves.
 */
export function toolchainOptions(job: ToolchainJob, limits: ToolchainLimits, serverId: string): ContainerCreateOptions {
  const env = { ...CACHE_ENV, ...job.env, CI: 'true', DINP_APP: job.app };
  return {
    // Servers that share an engine count their builds alike.
    name: `dinp-build-${job.app}--${job.build}-${randomBytes(4).toString('hex')}`,
    Image: job.image,
    Entrypoint: ['/bin/sh', '-c', 'read -r _ || :'],
    Cmd: [],
    WorkingDir: job.workdir,
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    AttachStdin: true,
    OpenStdin: true,
    StdinOnce: true,
    Healthcheck: { Test: ['NONE'] },
    // A one-off command in all that matters: no instance, and swept at the server's start.
    Labels: { [LABEL.server]: serverId, [LABEL.app]: job.app, [LABEL.oneOff]: 'true', 'dinp.build': String(job.build) },
    HostConfig: {
      AutoRemove: true,
      Init: true,
      Memory: limits.memoryBytes,
      MemorySwap: limits.memoryBytes,
      NanoCpus: Math.round(limits.cpus * 1e9),
      PidsLimit: PIDS_LIMIT,
      CapDrop: ['ALL'],
      CapAdd: CAPABILITIES,
      SecurityOpt: ['no-new-privileges'],
      NetworkMode: 'bridge',
      LogConfig: { Type: 'none', Config: {} },
      Mounts: [{ Type: 'volume', Source: cacheVolume(job.app), Target: CACHE, VolumeOptions: VOLUME_OPTIONS }],
    },
  };
}

/** Nothing of the image gets into the cache. */
const VOLUME_OPTIONS = { NoCopy: true, Labels: {}, DriverConfig: { Name: 'local', Options: {} } };
