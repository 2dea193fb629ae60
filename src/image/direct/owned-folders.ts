import { createHash } from 'node:crypto';
import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import type { Base } from './base.ts';
import type { LaidFile, LayersPlan, Layout } from './layout.ts';
import { CLOSED } from './layout.ts';

/** What in a layer belongs to the user that the image runs as, so that it can be written to; all else is root's. */
export interface Owned {
  uid: number;
  gid: number;
  /** Without the leading `/`: these folders are in the layer, and they and the folders below are owned. */
  folders: string[];
  /** The same of folders that volumes are mounted at; the files below are owned too. */
  volumes: string[];
}

/**
 * Gives the folders of the app and of its volumes to the user of the base: without that an app that does not run as root could write
 * neither beside its files nor, as engines make a new volume as the image has its folder, into a volume. They lie in the upper
 * layer, so that the lower one, of dependencies, is the same for all bases.
 * @throws DinpError refused for a volume where the app has a file
 */
export function giveFolders(layouts: readonly Layout[], plan: LayersPlan, base: Base): Layout[] {
  const volumes = placesOf(plan.volumes, layouts);
  const owner = ownerOf(base.config.config?.User);
  const folders = (plan.writable ?? []).map(pathOf).filter((path) => path !== '');
  if (owner === undefined || folders.length + volumes.length === 0) return [...layouts];
  const lower = layouts.filter(({ name }) => name !== 'application');
  const upper = layouts.find(({ name }) => name === 'application') ?? EMPTY;
  const owned = { ...owner, folders, volumes };
  const key = createHash('sha256').update(JSON.stringify([upper.key, owned.uid, owned.gid, folders, volumes]));
  return [...lower, { ...upper, owned, key: key.digest('hex') }];
}

const EMPTY: Layout = { name: 'application', files: [], bytes: 0, key: '' };

/** A config's User where it is a number, `65532:65532`; names are only known inside of the base. undefined for root, too. */
function ownerOf(user: unknown): { uid: number; gid: number } | undefined {
  const [, uid, gid = '0'] = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(String(user ?? '')) ?? [];
  return uid === undefined || Number(uid) === 0 ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** Where volumes are mounted, but for those that lie in the system's or behind a link, which stay as engines make them. */
function placesOf(volumes: readonly string[] | undefined, layouts: readonly Layout[]): string[] {
  if (volumes === undefined || volumes.length === 0) return [];
  const files = new Map(layouts.flatMap((layout) => layout.files.map((file) => [file.path, file] as const)));
  return volumes.map(pathOf).filter((path) => {
    if (path === '' || CLOSED.has(path.split('/', 1)[0]!)) return false;
    const file = fileInTheWay(path, files);
    if (file === undefined || file.mode === '120000') return file === undefined;
    throw new DinpError(
      'refused',
      `A volume is to be mounted at /${printable(path)}, and /${printable(file.path)} is a file of the app.`,
      { hint: 'Mount it at a folder: change "volumes" in dinp.yml.' },
    );
  });
}

function fileInTheWay(path: string, files: ReadonlyMap<string, LaidFile>): LaidFile | undefined {
  const parts = path.split('/');
  for (let length = 1; length <= parts.length; length++) {
    const file = files.get(parts.slice(0, length).join('/'));
    if (file !== undefined) return file;
  }
  return undefined;
}

function pathOf(folder: string): string {
  return folder.split('/').filter(Boolean).join('/');
}
