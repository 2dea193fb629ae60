import type { Tree } from '../../domain/tree.ts';
import { firstFile, objectIn, readJsonObject, regularFile } from '../blobs.ts';

/** What a package.json says of how to build and start. */
export interface PackageJson {
  start: string | undefined;
  /** The entry file, where it is in the tree. */
  main: string | undefined;
  builds: boolean;
  scripts: Readonly<Record<string, string>>;
  /** Names of the packages that it cannot run without. */
  dependencies: readonly string[];
  /** The range of Node.js versions that it asks for. */
  engine: string | undefined;
  /** Builds pages for a web server and starts none itself. */
  frontend: boolean;
  /** Where such a build leaves its pages. */
  output: string;
}

const FRONTEND_TOOLS = [
  'vite',
  'react-scripts',
  'parcel',
  '@angular/cli',
  '@vue/cli-service',
  'astro',
  'gatsby',
  '@11ty/eleventy',
  'webpack',
];
const SERVER_START = /(?:^|\s|\/)(?:node|next|nuxt|nest|remix-serve|react-router-serve|tsx|ts-node|bun|deno)(?:\s|$)/;

/** Reads package.json; undefined where there is none or it is no JSON object. */
export async function readPackageJson(tree: Tree): Promise<PackageJson | undefined> {
  const json = await readJsonObject(tree, 'package.json');
  if (json === undefined) return undefined;
  const scripts = texts(objectIn(json.scripts) ?? {});
  const optional = objectIn(json.optionalDependencies) ?? {};
  const dependencies = Object.keys(objectIn(json.dependencies) ?? {}).filter((name) => !(name in optional));
  const all = new Set([
    ...dependencies,
    ...Object.keys(optional),
    ...Object.keys(objectIn(json.devDependencies) ?? {}),
  ]);
  const { start } = scripts;
  const builds = scripts.build !== undefined;
  const named = string(json.main)?.replace(/^\.\//, '') ?? 'index.js';
  const tool = FRONTEND_TOOLS.find((name) => all.has(name));
  const serves = start !== undefined && (tool === undefined || SERVER_START.test(start));
  return {
    start,
    main: firstFile(tree, [named, `${named}.js`, `${named}/index.js`, 'server.js']),
    builds,
    scripts,
    dependencies,
    engine: string(objectIn(json.engines)?.node),
    frontend:
      builds &&
      !serves &&
      (tool !== undefined || start === undefined) &&
      !(tool === undefined && regularFile(tree, named)),
    output:
      tool === 'react-scripts' ? 'build' : tool === '@11ty/eleventy' ? '_site' : tool === 'gatsby' ? 'public' : 'dist',
  };
}

function texts(values: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (string(value) === undefined ? [] : [[name, String(value)]])),
  );
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}
