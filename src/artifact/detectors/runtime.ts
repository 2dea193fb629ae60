import type { ImagePlan } from '../../domain/plan.ts';
import { readText } from '../blobs.ts';
import { type Candidate, chooseBase, isPlumbing } from '../detector.ts';
import { layFolder } from '../folder.ts';
import { compareVersions, mayFit } from '../version-range.ts';

/** Where apps of these runtimes are laid unless their base says otherwise. */
const INTO = '/app';

type RuntimeKind = 'php' | 'python' | 'node';

export interface Runtime {
  base: string;
  /** Where the app is laid in it. */
  into: string;
  /** Version of the runtime inside, as far as the catalogue knows it. */
  version: string | undefined;
  notes: string[];
}

/**
 * The base to run an app of this kind on: dinp.yml's, else the one called like the kind, else another of the kind whose
 * version fits.
 * @param wanted the range of versions that the app asks for, and where it does
 * @throws DinpError refused where the catalogue lacks it
 */
export function chooseRuntime(
  candidate: Candidate,
  kind: RuntimeKind,
  wanted: { range: string; where: string } | undefined,
): Runtime {
  const fits = (version: string | undefined) =>
    wanted === undefined || version === undefined || mayFit(version, wanted.range);
  const better =
    candidate.manifest.base !== undefined || fits(candidate.bases.get(kind)?.version)
      ? undefined
      : [...candidate.bases]
          .filter(([, facts]) => facts.for.includes(kind) && facts.version !== undefined && fits(facts.version))
          .sort(
            ([, a], [, b]) => Number(b.usable) - Number(a.usable) || compareVersions(b.version!, a.version!),
          )[0]?.[0];
  const { name, facts } = chooseBase(candidate, better ?? kind);
  const notes = fits(facts.version)
    ? []
    : [`${wanted!.where} asks for ${kind} ${wanted!.range}, and the base "${name}" has ${facts.version}.`];
  return { base: name, into: facts.into ?? INTO, version: facts.version, notes };
}

/** What chooseRuntime will find, as far as the catalogue has it: for what is to be refused before a missing base is. */
export function expectedRuntime({ bases, manifest }: Candidate, kind: RuntimeKind): Pick<Runtime, 'into' | 'version'> {
  const facts = bases.get(manifest.base ?? kind);
  return { into: facts?.into ?? INTO, version: facts?.version };
}

/** What an app of a runtime is made of, besides the files of its folder. */
export interface RuntimeApp {
  artifact: RuntimeKind;
  runtime: Runtime;
  /** Folder of the commit that is laid into the image. */
  folder: string;
  /** Folders of the app that seldom change, `node_modules`. */
  dependencies: string[];
  /** argv; undefined: the base's. */
  command: string[] | undefined;
  env: Record<string, string>;
}

/** The image of an app: its folder over the base, started by a `control` where there is one. */
export function layApp(candidate: Candidate, app: RuntimeApp): { image: LayersPlan; watch: string[] } {
  const { base, into } = app.runtime;
  const laid = candidate.control || candidate.commandsNamePaths ? '.' : app.folder;
  const skip = laid === '.' ? isPlumbing : () => false;
  const { files, watch } = layFolder(candidate.tree, laid, into, skip);
  return {
    image: {
      kind: 'layers',
      artifact: app.artifact,
      base,
      files,
      dependencies: app.dependencies
        .map((folder) => `${into}/${folder}`)
        .filter((folder) => files.some(({ to }) => to.startsWith(`${folder}/`))),
      workdir: into,
      command: candidate.control ? ['./control', 'start'] : app.command,
      env: app.env,
      port: undefined,
    },
    watch,
  };
}

export type LayersPlan = Extract<ImagePlan, { kind: 'layers' }>;

/** Behind "is missing": that a folder is kept out of the commit by .gitignore, where it is. */
export async function ignoredHint({ tree }: Candidate, folder: string): Promise<string[]> {
  const lines = ((await readText(tree, '.gitignore')) ?? '').split(/\r?\n/).map((line) => line.trim());
  const ignored = lines.some((line) => line.replace(/^\/|^\*\*\/|\/\*{0,2}$/g, '') === folder);
  return ignored ? [`.gitignore keeps ${folder}/ out of commits; "git add -f" takes it all the same.`] : [];
}

/** `a, b and 3 more`. */
export function listed(names: readonly string[], shown = 5): string {
  if (names.length > shown) return `${names.slice(0, shown).join(', ')} and ${names.length - shown} more`;
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
