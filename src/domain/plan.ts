import type { Process } from './process.ts';

export type ArtifactKind = 'dockerfile' | 'binary' | 'static' | 'plain' | 'war' | 'jar' | 'php' | 'python' | 'node';

/** One file of the image to be made: a path in the image, and the commit's file whose content it gets. */
export interface PlacedFile {
  /** Absolute path in the image. */
  to: string;
  /** Path in the commit. */
  from: string;
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
  /** Tree ids of the paths whose change counts as this service's change. */
  watch: string[];
  /** From dinp.yml, Procfile or the artifact; always at least one. `port: undefined` in `web` means: take what the image EXPOSEs, else 8080. */
  processes: Process[];
  env: Record<string, string>;
  releaseCommand: string[] | undefined;
  timeoutMs: number | undefined;
}

export interface DeployPlan {
  services: ServicePlan[];
  /** Target by name, where dinp.yml asks for one. */
  target: string | undefined;
  domains: string[];
  /** Lines that the pusher should read: ignored files, assumptions. */
  notes: string[];
}
