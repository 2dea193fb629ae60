import type { FleetOptions } from './fleet-options.ts';
import type { ImageRef } from './image-ref.ts';
import type { KeepRules } from './keep.ts';
import type { Process } from './process.ts';
import type { Source } from './source.ts';

/** What made the release: a push, an older release taken again, or changed config of the same image. */
export type ReleaseCause = 'deploy' | 'rollback' | 'config';

/**
 * pending: being rolled out; live: serves now; past: served before; failed: never got traffic; gone: past or failed, and
 * clean-up removed its images, so that it can never run again.
 */
export type ReleaseState = 'pending' | 'live' | 'past' | 'failed' | 'gone';

/** One row a manifest service; an app without `services:` has one, named like the app. */
export interface ReleaseService {
  service: string;
  /** Source commit, also where it is another repository's; undefined for an upload or a foreign image. */
  commit: string | undefined;
  image: ImageRef;
  contentKey: string;
  processes: Process[];
  /** Plain environment of the manifest; the app's config wins over it. */
  env: Record<string, string>;
  /** Command run once before traffic moves. */
  releaseCommand: string[] | undefined;
}

/** An immutable numbered record of what runs or ran. */
export interface Release {
  id: number;
  appId: number;
  app: string;
  /** 1, 2, 3 … within the app. */
  number: number;
  state: ReleaseState;
  cause: ReleaseCause;
  source: Source;
  note: string | undefined;
  /** The release a rollback or config change was made from. */
  fromNumber: number | undefined;
  buildId: number | undefined;
  /** Name of the target that runs it. */
  target: string;
  /** Host names besides the one under the server's domain. */
  domains: string[];
  /** Hosts that its dinp.yml names, and labels as `zone=a`; none: any. */
  hosts: string[];
  /** What its dinp.yml says of the machines of fleet. */
  fleet: FleetOptions;
  /** What its dinp.yml says of clean-up; the server's config fills what is missing. */
  keep: Partial<KeepRules>;
  services: ReleaseService[];
  /** The app's config at the time of the release. Values are secret: never logged or printed. */
  config: Record<string, string>;
  /** Who caused it. */
  by: string;
  createdAt: number;
}
