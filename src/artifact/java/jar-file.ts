import type { Zip, ZipRecord } from '../archive/zip.ts';
import { type ClassFacts, readClassFile } from './class-file.ts';
import { parseJarManifest } from './jar-manifest.ts';

const MAX_MANIFEST = 1024 * 1024;
/** A class's constants come first, and few are longer than this. */
const MAX_CLASS = 512 * 1024;

/** What the manifest of a jar says of how it is started. */
export interface JarManifest {
  mainClass: string | undefined;
  /** Spring Boot's: the class that its loader starts. */
  startClass: string | undefined;
  /** Relative paths of jars and folders beside it, decoded. */
  classPath: string[];
}

/** undefined where there is no manifest. */
export async function readJarManifest(zip: Zip): Promise<JarManifest | undefined> {
  const record = zip.records.find(({ name, type }) => type === 'file' && /^META-INF\/MANIFEST\.MF$/i.test(name));
  if (record === undefined) return undefined;
  const attributes = parseJarManifest((await zip.read(record, MAX_MANIFEST)).toString('utf8'));
  return {
    mainClass: attributes.get('main-class') || undefined,
    startClass: attributes.get('start-class') || undefined,
    classPath: (attributes.get('class-path') ?? '').split(/ +/).filter(Boolean).map(decoded),
  };
}

/** The class path has relative URLs. */
function decoded(url: string): string {
  try {
    return decodeURIComponent(url).replace(/^(?:\.\/)+/, '');
  } catch {
    return url;
  }
}

/** Folders in which Spring Boot keeps an application's own classes. */
const CLASS_FOLDERS = ['', 'BOOT-INF/classes/', 'WEB-INF/classes/'];

/**
 * The class file of a class by its name in Java.
 * @returns undefined where the jar does not have it; classes of other releases of Java (META-INF/versions) do not count
 */
export async function findClass(zip: Zip, className: string): Promise<ClassFacts | undefined> {
  const path = `${className.replaceAll('.', '/')}.class`;
  const wanted = CLASS_FOLDERS.map((folder) => folder + path);
  const record = zip.records.find(({ name }) => wanted.includes(name));
  return record && (await readClass(zip, record));
}

export async function readClass(zip: Zip, record: ZipRecord): Promise<ClassFacts | undefined> {
  return readClassFile(await zip.read(record, MAX_CLASS));
}

/** Whether a path is that of a class which every Java loads. */
export function isOrdinaryClass(path: string): boolean {
  return (
    path.endsWith('.class') && !path.includes('META-INF/') && !/(?:^|\/)(?:module|package)-info\.class$/.test(path)
  );
}
