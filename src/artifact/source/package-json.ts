import type { Tree } from '../../domain/tree.ts';
import { readText, regularFile } from '../blobs.ts';

/** What a package.json says of how to build and start. */
export interface PackageJson {
  start: string | undefined;
  /** The entry file, where it is in the tree. */
  main: string | undefined;
  builds: boolean;
  hasDependencies: boolean;
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
  const text = await readText(tree, 'package.json');
  if (text === undefined) return undefined;
  const json = parseObject(text);
  if (json === undefined) return undefined;
  const scripts = object(json.scripts);
  const dependencies = { ...object(json.dependencies), ...object(json.optionalDependencies) };
  const all = { ...dependencies, ...object(json.devDependencies) };
  const start = string(scripts.start);
  const builds = string(scripts.build) !== undefined;
  const named = string(json.main)?.replace(/^\.\//, '') ?? 'index.js';
  const tool = FRONTEND_TOOLS.find((name) => name in all);
  const serves = start !== undefined && (tool === undefined || SERVER_START.test(start));
  return {
    start,
    main: regularFile(tree, named) ? named : regularFile(tree, 'server.js') ? 'server.js' : undefined,
    builds,
    hasDependencies: Object.keys(dependencies).length > 0,
    frontend:
      builds &&
      !serves &&
      (tool !== undefined || start === undefined) &&
      !(tool === undefined && regularFile(tree, named)),
    output:
      tool === 'react-scripts' ? 'build' : tool === '@11ty/eleventy' ? '_site' : tool === 'gatsby' ? 'public' : 'dist',
  };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}
