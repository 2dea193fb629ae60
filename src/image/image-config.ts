import { findPlatform } from './platform.ts';
import type { Manifest, RegistryClient } from './registry/registry.ts';
import { parseIndex } from './registry/registry.ts';

/** What of an image's config matters for running it (image-spec, config.md). */
export interface ImageConfig {
  architecture: string;
  labels: Record<string, string>;
  env: Record<string, string>;
  /** The one TCP port that the image EXPOSEs, if there is exactly one. */
  exposedPort: number | undefined;
  hasHealthcheck: boolean;
  hasCommand: boolean;
}

interface RawManifest {
  config?: { digest?: string };
  manifests?: unknown;
}

interface RawConfig {
  architecture?: string;
  config?: {
    ExposedPorts?: Record<string, unknown> | null;
    Healthcheck?: { Test?: string[] | null } | null;
    Cmd?: string[] | null;
    Entrypoint?: string[] | null;
    Env?: string[] | null;
    Labels?: Record<string, string> | null;
  };
}

/**
 * Reads an image's config from the registry; of an index, the entry of that platform.
 * @param platform `linux/amd64`
 * @returns undefined where there is no such image
 * @throws DinpError unavailable
 */
export async function readImageConfig(
  registry: RegistryClient,
  repository: string,
  reference: string,
  platform: string,
  signal?: AbortSignal,
): Promise<ImageConfig | undefined> {
  const manifest = await registry.getManifest(repository, reference, signal);
  return manifest && readConfigOf(registry, repository, manifest, platform, signal);
}

/** The same of an image whose manifest is known. */
export async function readConfigOf(
  registry: RegistryClient,
  repository: string,
  manifest: Manifest,
  platform: string,
  signal?: AbortSignal,
): Promise<ImageConfig | undefined> {
  const raw = JSON.parse(manifest.bytes.toString('utf8')) as RawManifest;
  if (raw.manifests !== undefined) {
    const fitting = findPlatform(parseIndex(manifest.bytes), platform);
    return fitting === undefined ? undefined : readImageConfig(registry, repository, fitting.digest, platform, signal);
  }
  if (raw.config?.digest === undefined) return undefined;
  return parseImageConfig(await registry.getBlob(repository, raw.config.digest, undefined, signal));
}

/** Takes an image's config apart. */
export function parseImageConfig(bytes: Buffer): ImageConfig {
  const { architecture = '', config = {} } = JSON.parse(bytes.toString('utf8')) as RawConfig;
  const ports = Object.keys(config.ExposedPorts ?? {}).flatMap((port) => {
    const [, number, protocol = 'tcp'] = /^(\d+)(?:\/(\w+))?$/.exec(port) ?? [];
    return number !== undefined && protocol === 'tcp' ? [Number(number)] : [];
  });
  const test = config.Healthcheck?.Test ?? [];
  return {
    architecture,
    labels: config.Labels ?? {},
    env: Object.fromEntries((config.Env ?? []).map(variableOf)),
    exposedPort: ports.length === 1 ? ports[0] : undefined,
    hasHealthcheck: test.length > 0 && test[0] !== 'NONE',
    hasCommand: (config.Cmd ?? []).length > 0 || (config.Entrypoint ?? []).length > 0,
  };
}

function variableOf(line: string): [name: string, value: string] {
  const [name = '', ...value] = line.split('=');
  return [name, value.join('=')];
}
