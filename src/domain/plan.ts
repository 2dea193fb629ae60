import type { Process } from './process.ts';
import type { TreeEntry } from './tree.ts';

export type ArtifactKind = 'dockerfile' | 'binary' | 'static' | 'plain' | 'war' | 'jar' | 'php' | 'python' | 'node';

/** One file of the image to be made: a path in the image, and the commit's file whose content it gets. */
export interface PlacedFile {
  /** Absolute path in the image. */
  to: string;
  /** Path in the commit. */
  from: string;
  /** Mode in the image; undefined: as in the commit. A program that was committed without its x bit gets it here. */
  mode?: TreeEntry['mode'];
}

/** What planning needs to know of a base of the operator's catalogue. */
export interface BaseFacts {
  /** Where artifacts are laid, `/srv/www`; undefined: `/app`. */
  into?: string | undefined;
  /** Whether the base has `/bin/sh`. */
  shell: boolean;
}

/** How the image of a service is made. */
export type ImagePlan =
  | {
      kind: 'dockerfile';
      /** Folder of the commit that is the build context, `.` for all of it. */
      context: string;
      /** Path of the Dockerfile in the commit. */
      dockerfile: string;
      stage: string | undefined;
      args: Record<string, string>;
    }
  | {
      kind: 'layers';
      artifact: Exclude<ArtifactKind, 'dockerfile'>;
      /** Catalogue name of the base, `static`. */
      base: string;
      files: PlacedFile[];
      /** Working directory in the image, where the base's will not do. */
      workdir: string | undefined;
      /** argv; undefined: the base's own command. */
      command: string[] | undefined;
      env: Record<string, string>;
      /** undefined: the base's. */
      port: number | undefined;
    };

/** What one service of a commit becomes: decided from names, heads of blobs and dinp.yml, without a checkout. */
export interface ServicePlan {
  name: string;
  /** For people: `static Linux program hello (amd64)`. */
  found: string;
  image: ImagePlan;
  /** Ids of the trees and blobs that the image is made from, in the order of their paths; a part of its content key. */
  watch: string[];
  /** From dinp.yml, Procfile or the artifact; always at least one. `port: undefined` in `web` means: take what the image EXPOSEs, else 8080. */
  processes: Process[];
  env: Record<string, string>;
  releaseCommand: string[] | undefined;
  timeoutMs: number | undefined;
  /** Repository of the image within the registry; undefined: named after the app (and service). */
  repository: string | undefined;
  /** false: an image is made and nothing is run. */
  deploys: boolean;
}

export interface DeployPlan {
  services: ServicePlan[];
  /** Target by name, where dinp.yml asks for one. */
  target: string | undefined;
  domains: string[];
  /** Lines that the pusher should read: ignored files, assumptions. */
  notes: string[];
}
