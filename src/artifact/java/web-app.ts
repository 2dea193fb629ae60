import type { Tree, TreeEntry } from '../../domain/tree.ts';
import { openZipEntry } from '../archive/open-archive.ts';
import { readText } from '../blobs.ts';
import { joinPath } from '../folder.ts';
import { type ClassFacts, readClassFile, type ServletApi } from './class-file.ts';
import { isOrdinaryClass, readClass } from './jar-file.ts';

const MAX_CLASSES = 300;
const MAX_PAGES = 100;
const MAX_PAGE = 64 * 1024;
const MAX_CLASS = 512 * 1024;
const AT_ONCE = 25;
const MAX_JARS = 40;
const MAX_JAR_BYTES = 64 * 1024 * 1024;
const MAX_CLASSES_OF_JAR = 60;
/** So many libraries of web frameworks that agree are enough. */
const ENOUGH_JARS = 3;

/** What a web application asks of the server that it is laid into. */
export interface WebApp {
  /** The Servlet APIs that it uses, each with the file that shows it. */
  apis: ReadonlyMap<ServletApi, string>;
  /** The release of Java that its classes need, and one that does. */
  java: { release: number; path: string } | undefined;
}

/**
 * Finds which Servlet API a web application was written for: by its own classes and pages, then by its libraries, then by
 * what web.xml says. Looks at a few hundred classes at the most.
 * @param folder that WEB-INF lies in
 */
export async function inspectWebApp(tree: Tree, folder: string): Promise<WebApp> {
  const own = await inspectOwn(tree, folder);
  if (own.apis.size > 0 && own.java !== undefined) return own;
  const libraries = await inspectLibraries(tree, joinPath(folder, 'WEB-INF/lib'), own.apis.size > 0);
  const java = newer(own.java, libraries.java);
  if (own.apis.size > 0) return { apis: own.apis, java };
  const descriptor = joinPath(folder, 'WEB-INF/web.xml');
  const said = apiOfDescriptor((await readText(tree, descriptor)) ?? '');
  // Applications keep old descriptors for years, so that only the new name says something against libraries.
  if (said !== undefined && (libraries.apis.size === 0 || (libraries.apis.size > 1 && said === 'jakarta'))) {
    return { apis: new Map([[said, descriptor]]), java };
  }
  return { apis: libraries.apis, java };
}

function newer(a: WebApp['java'], b: WebApp['java']): WebApp['java'] {
  return a === undefined || (b !== undefined && b.release > a.release) ? b : a;
}

/** The namespace or the document type of web.xml. */
export function apiOfDescriptor(text: string): ServletApi | undefined {
  if (text.includes('jakarta.ee/xml/ns/jakartaee')) return 'jakarta';
  if (/xmlns\.jcp\.org\/xml\/ns\/javaee|java\.sun\.com\/(?:xml\/ns\/j(?:2|ava)ee|j2ee|dtd)/.test(text)) return 'javax';
  return undefined;
}

async function inspectOwn(tree: Tree, folder: string): Promise<WebApp> {
  const classes = joinPath(folder, 'WEB-INF/classes/');
  const inside = folder === '.' ? '' : `${folder}/`;
  const files = tree.entries.filter(({ path, mode }) => mode !== '120000' && path.startsWith(inside));
  const found = { apis: new Map<ServletApi, string>(), java: undefined as WebApp['java'] };
  const looked = spread(
    files.filter(({ path }) => path.startsWith(classes) && isOrdinaryClass(path.slice(classes.length))),
    MAX_CLASSES,
  );
  for (let at = 0; at < looked.length && found.apis.size < 2; at += AT_ONCE) {
    const group = looked.slice(at, at + AT_ONCE);
    const heads = await Promise.all(group.map((entry) => tree.head(entry, MAX_CLASS)));
    for (const [i, head] of heads.entries()) add(found, readClassFile(head), group[i]!.path);
  }
  const pages = files.filter(({ path, size }) => /\.(?:jspx?|jspf|tagx?)$/.test(path) && size <= MAX_PAGE);
  for (const page of spread(pages, MAX_PAGES)) {
    const text = (await tree.head(page, MAX_PAGE)).toString('latin1');
    for (const [, api] of text.matchAll(/\b(javax|jakarta)\.servlet\./g)) {
      if (!found.apis.has(api as ServletApi)) found.apis.set(api as ServletApi, page.path);
    }
  }
  return found;
}

function add(
  found: { apis: Map<ServletApi, string>; java: WebApp['java'] },
  facts: ClassFacts | undefined,
  path: string,
) {
  if (facts === undefined) return;
  for (const api of facts.apis) if (!found.apis.has(api)) found.apis.set(api, path);
  found.java = newer(found.java, { release: facts.java, path });
}

/** Names of what has to do with requests, among classes and among libraries. */
const WEB =
  /servlet|filter|listener|web|http|request|controller|jsp|struts|jersey|resteasy|wicket|vaadin|faces|jsf|shiro/i;

/** Not more than `limit`: those whose names have to do with the web first, the others from everywhere in the list. */
function spread<T extends { path: string }>(entries: readonly T[], limit: number): T[] {
  if (entries.length <= limit) return [...entries];
  const web = entries.filter(({ path }) => WEB.test(path)).slice(0, Math.ceil(limit / 2));
  const chosen = new Set(web);
  const others = entries.filter((entry) => !chosen.has(entry));
  const room = limit - web.length;
  return [...web, ...Array.from({ length: room }, (_, i) => others[Math.floor((i * others.length) / room)]!)];
}

async function inspectLibraries(tree: Tree, folder: string, onlyJava: boolean): Promise<WebApp> {
  const found = { apis: new Map<ServletApi, string>(), java: undefined as WebApp['java'] };
  let bytes = 0;
  let decisive = 0;
  for (const jar of librariesIn(tree, folder)) {
    bytes += jar.size;
    if (bytes > MAX_JAR_BYTES) break;
    const { apis, java } = await inspectJar(tree, jar, onlyJava ? 5 : MAX_CLASSES_OF_JAR);
    if (java !== undefined) found.java = newer(found.java, { release: java, path: jar.path });
    // A library that knows both works with both.
    if (apis.size !== 1) continue;
    for (const api of apis) if (!found.apis.has(api)) found.apis.set(api, jar.path);
    decisive++;
    if (found.apis.size > 1 || decisive >= ENOUGH_JARS) break;
  }
  return found;
}

function librariesIn(tree: Tree, folder: string): TreeEntry[] {
  const jars = tree.entries.filter(
    ({ path, mode }) => mode !== '120000' && path.startsWith(`${folder}/`) && /\.jar$/i.test(path),
  );
  // The API itself is often packed by mistake; what uses it says more.
  const rank = (path: string) => (/(?:servlet|jsp|el|websocket)-api/i.test(path) ? 2 : WEB.test(path) ? 0 : 1);
  return jars.sort((a, b) => rank(a.path) - rank(b.path) || a.size - b.size).slice(0, MAX_JARS);
}

/** The APIs of a library, and the release that all of its classes that were looked at need at the least. */
async function inspectJar(
  tree: Tree,
  jar: TreeEntry,
  limit: number,
): Promise<{ apis: ReadonlySet<ServletApi>; java: number | undefined }> {
  await using scope = new AsyncDisposableStack();
  const apis = new Set<ServletApi>();
  let java: number | undefined;
  try {
    const zip = await openZipEntry(tree, jar, scope);
    const classes = zip.records
      .filter(({ name }) => isOrdinaryClass(name))
      .map((record) => ({ path: record.name, record }));
    for (const { record } of spread(classes, limit)) {
      const facts = await readClass(zip, record);
      if (facts === undefined) continue;
      java = Math.min(java ?? facts.java, facts.java);
      for (const api of facts.apis) apis.add(api);
      if (apis.size > 1) break;
    }
  } catch {
    // A library that cannot be read says nothing here; Java itself will say what is wrong with it.
  }
  return { apis, java };
}
