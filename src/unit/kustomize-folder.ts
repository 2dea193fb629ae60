import { posix } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { DinpError } from '../domain/errors.ts';
import type { Tree, TreeEntry } from '../domain/tree.ts';
import type { UnitFile } from '../domain/unit-file.ts';

/** Where a repository keeps a kustomization of its own. */
export const OWN_FOLDER = 'k8s';
const KUSTOMIZATIONS = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
/** Keys of a kustomization that name files or folders beside it. */
const REFERENCES = ['resources', 'bases', 'components', 'crds', 'configurations', 'generators', 'transformers'];
const MAX_BYTES = 4 * 1024 * 1024;

/** A kustomization that the repository brings with it. */
export interface OwnKustomization {
  /** Copies of its files, `k8s/…`. */
  files: UnitFile[];
  /** Names of the images in it, as kustomize matches them: without tag and digest. */
  images: string[];
}

/**
 * The repository's own kustomization, where it has one.
 * @throws DinpError refused for one that would not be the same without the rest of the repository, or is no text
 */
export async function readOwnKustomization(tree: Tree): Promise<OwnKustomization | undefined> {
  if (!KUSTOMIZATIONS.some((name) => tree.find(`${OWN_FOLDER}/${name}`) !== undefined)) return undefined;
  const entries = tree.entries.filter(({ path }) => path.startsWith(`${OWN_FOLDER}/`));
  checkEntries(entries);
  const files: UnitFile[] = [];
  for await (const { entry, content } of tree.streamAll(entries)) {
    files.push({ name: entry.path, text: await textOf(entry, content) });
  }
  const documents = files.flatMap(documentsOf);
  const isKustomization = ({ path }: Document) => KUSTOMIZATIONS.includes(posix.basename(path));
  for (const document of documents.filter(isKustomization)) checkReferences(document);
  const replaced = documents.filter(isKustomization).flatMap(renamedImages);
  const written = documents.filter((each) => !isKustomization(each)).flatMap(({ value }) => imagesIn(value));
  const names = written.map((name) => replaced.find((each) => each.name === name)?.newName ?? name);
  return { files, images: [...new Set(names)].sort() };
}

/** A YAML document and the file that it is in. */
interface Document {
  path: string;
  value: unknown;
}

function checkEntries(entries: TreeEntry[]): void {
  const link = entries.find(({ mode }) => mode === '120000');
  if (link !== undefined) throw refused(`${link.path} is a symbolic link`, 'Put the file itself there.');
  const bytes = entries.reduce((sum, { size }) => sum + size, 0);
  if (bytes > MAX_BYTES) throw refused(`${OWN_FOLDER}/ has more than 4 MiB`, 'Leave only manifests in it.');
}

async function textOf(entry: TreeEntry, content: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw refused(`${entry.path} is no text`, 'Keep binary files elsewhere in the repository.', cause);
  }
}

/** The documents of a YAML file; none of others, or of one that only kustomize may understand (a patch, a template). */
function documentsOf({ name: path, text }: UnitFile): Document[] {
  if (!/\.ya?ml$|\/Kustomization$/.test(path)) return [];
  try {
    return parseAllDocuments(text, { logLevel: 'silent' }).map((document) => ({ path, value: document.toJS() }));
  } catch {
    return [];
  }
}

/** What is above the folder is not in the copy. */
function checkReferences({ path, value }: Document): void {
  for (const reference of REFERENCES.flatMap((key) => listOf(field(value, key)))) {
    if (typeof reference !== 'string' || /^[a-z]+:\/\/|[:?]/.test(reference)) continue;
    const target = posix.join(posix.dirname(path), reference);
    if (target === OWN_FOLDER || target.startsWith(`${OWN_FOLDER}/`)) continue;
    throw refused(`${path} names ${reference}, which is outside of ${OWN_FOLDER}/`, `Move it into ${OWN_FOLDER}/.`);
  }
}

/** What the kustomization itself makes of images: those names are what an overlay sees. */
function renamedImages({ value }: Document): { name: string; newName: string }[] {
  return listOf(field(value, 'images')).flatMap((image) => {
    const [name, newName] = [field(image, 'name'), field(image, 'newName')];
    return typeof name === 'string' && typeof newName === 'string' ? [{ name, newName }] : [];
  });
}

/** Images of containers, wherever they are in an object. */
function imagesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'containers' || key === 'initContainers'
      ? listOf(inner).flatMap((container) => imageName(field(container, 'image')))
      : imagesIn(inner),
  );
}

/** `registry:5000/team/blog:1@sha256:…` without tag and digest. */
function imageName(image: unknown): string[] {
  return typeof image === 'string' && image !== '' ? [image.replace(/@.*$/, '').replace(/:[^:/]*$/, '')] : [];
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function refused(what: string, hint: string, cause?: unknown): DinpError {
  return new DinpError('refused', `${what}.`, { hint, ...(cause === undefined ? {} : { cause }) });
}
