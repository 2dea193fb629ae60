import type { FleetOptions } from './fleet-options.ts';
import type { KeepRules } from './keep.ts';
import type { Process } from './process.ts';
import type { Tree, TreeEntry } from './tree.ts';

export type ArtifactKind = 'dockerfile' | 'binary' | 'static' | 'plain' | 'war' | 'jar' | 'php' | 'python' | 'node';

/** One file of the image to be made: a path in the image, and the commit's file whose content it gets. */
export interface PlacedFile {
  /** Absolute path in the image. */
  to: string;
  /** Path in the service's tree. */
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
  /** Kinds of artifacts that it is meant for. */
  for: readonly string[];
  /** What it is for among those of its kind: `javax` or `jakarta` for a servlet container. */
  when?: string | undefined;
  /** Version of the runtime in it as far as it is known, `17`, `3.11.2`. No number: 3.10 is not 3.1. */
  version?: string | undefined;
  /** Whether a build can have it: the registry has it, or it can be made here. */
  usable: boolean;
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
      /**
       * Folders of the image whose files seldom change (`/app/node_modules`): they make a layer of their own, below that of
       * all the others.
       */
      dependencies: string[];
      /** Folders of the image that belong, with the folders in them, to the user that it runs as: the app's own. undefined: none. */
      writable?: string[] | undefined;
      /**
       * Folders of the image that volumes are mounted at: they are there, and with all that is in them belong to that user, as
       * engines fill a new volume with what the image has in its place. undefined: none.
       */
      volumes?: string[] | undefined;
      /** Working directory in the image, where the base's will not do. */
      workdir: string | undefined;
      /** argv; undefined: the base's own command. */
      command: string[] | undefined;
      env: Record<string, string>;
      /** undefined: the base's. */
      port: number | undefined;
    }
  | {
      kind: 'image';
      /** An image that exists, by address. */
      reference: string;
    }
  | {
      kind: 'kept';
      /** The image of this content key that our registry has: what was compiled before. */
      contentKey: string;
    };

/** What one service of a commit becomes: decided from names, heads of blobs and dinp.yml, without a checkout. */
export interface ServicePlan {
  name: string;
  /** For people: `static Linux program hello (amd64)`. */
  found: string;
  image: ImagePlan;
  /** What the paths of `image` are read from: the commit, or what is inside an archive of it. */
  tree: Tree;
  /** Ids of the trees and blobs that the image is made from, in the order of their paths; a part of its content key. */
  watch: string[];
  /** Key of what was compiled to get the tree; undefined where nothing was. */
  compileKey?: string | undefined;
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
  /** Hosts that dinp.yml names, and labels as `zone=a`; undefined: any. */
  hosts?: string[] | undefined;
  /** What dinp.yml says of the machines of fleet. */
  fleet?: FleetOptions | undefined;
  /** What clean-up is to leave, where dinp.yml says so. */
  keep: Partial<KeepRules>;
  /** Lines that the pusher should read: ignored files, assumptions. */
  notes: string[];
}
