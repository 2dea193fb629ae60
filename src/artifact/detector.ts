import { DinpError } from '../domain/errors.ts';
import { nearest } from '../domain/names.ts';
import type { ArtifactKind, BaseFacts, ImagePlan } from '../domain/plan.ts';
import type { Tree } from '../domain/tree.ts';
import type { Manifest } from './manifest-schema.ts';

/** Folders in which build tools and people leave finished artifacts, in the order in which they are looked at. */
export const ARTIFACT_FOLDERS = ['.', 'target', 'build/libs', 'dist', 'bin'] as const;

/** What a detector looks at: the service's folder of a commit, and what dinp.yml and the server say. */
export interface Candidate {
  app: string;
  tree: Tree;
  manifest: Manifest;
  /** `amd64`, `arm64`: what the hosts are. */
  hostArch: string;
  bases: ReadonlyMap<string, BaseFacts>;
  /** Whether an executable `control` lies at the root and no process has a command of its own. */
  control: boolean;
  /** Whether every process has a command from dinp.yml or a Procfile, so that none must be guessed. */
  commandsGiven: boolean;
  /** Whether one of them names a file below a folder of the commit by its path there, as in `web: bin/server`. */
  commandsNamePaths: boolean;
  /** Whether one of them, or the release command, needs a shell. */
  commandsNeedShell: boolean;
  /** Closes what a detector opens and its artifact needs. */
  scope: AsyncDisposableStack;
}

/** What a detector found; paths begin at the service's folder, or at the root of its own tree. */
export interface Artifact {
  /** For people, behind "Found". */
  found: string;
  image: ImagePlan;
  /** What the image's paths are read from where it is not the service's folder: what is inside an archive. */
  tree?: Tree | undefined;
  watch: string[];
  notes: string[];
}

export interface Detector {
  kind: ArtifactKind;
  /** @throws DinpError refused where it is this kind and cannot be deployed */
  detect(candidate: Candidate): Promise<Artifact | undefined>;
}

/** The base that dinp.yml names, else the one that fits. @throws DinpError refused where the catalogue lacks it */
export function chooseBase(candidate: Candidate, fitting: string): { name: string; facts: BaseFacts } {
  const asked = candidate.manifest.base;
  const name = asked ?? fitting;
  const facts = candidate.bases.get(name);
  if (facts !== undefined) return { name, facts };
  const known = [...candidate.bases.keys()];
  if (asked === undefined) {
    throw new DinpError('refused', `It needs the base "${name}", which this server's catalogue lacks.`, {
      hint: `Ask the operator to add it to the catalogue, or push a Dockerfile. Known here: ${known.join(', ') || 'none'}.`,
    });
  }
  const near = nearest(name, known);
  throw new DinpError('refused', `dinp.yml asks for the base "${name}", which this server does not have.`, {
    hint: near === undefined ? `It has: ${known.join(', ') || 'none'}.` : `Did you mean ${near}?`,
  });
}

/** Whether an executable `control` lies at the root, whoever gives the commands. */
export function hasControl({ tree }: Pick<Candidate, 'tree'>): boolean {
  return tree.find('control')?.mode === '100755';
}

/** Files at the top of a repository that say how to deploy or keep it, and are no part of what runs. */
export function isPlumbing(path: string): boolean {
  return /^(?:dinp\.yml|Procfile|\.dockerignore|\.git(?:ignore|attributes|modules|keep|lab-ci\.yml|hub\/.*))$/.test(
    path,
  );
}
