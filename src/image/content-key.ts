import { createHash } from 'node:crypto';
import type { ImagePlan } from '../domain/plan.ts';

/** Raised whenever the same input would give another image. */
const RECIPE_VERSION = 3;

export interface KeyParts {
  plan: ImagePlan;
  /** Ids of the trees and blobs that the image is made from. */
  watch: readonly string[];
  /** Ids of files that decide how it is built and may lie outside of them: Dockerfile, .dockerignore. */
  recipe: readonly string[];
  /** Each base image and what it is now: digest, engine's id, or its name where neither is known. */
  bases: readonly (readonly [name: string, is: string])[];
  /** `linux/amd64`. */
  platform: string;
}

/** The content key: 64 hex digits that are equal exactly where everything an image is made from is equal. */
export function contentKey(parts: KeyParts): string {
  const text = canonical({ version: RECIPE_VERSION, ...parts });
  return createHash('sha256').update(text).digest('hex');
}

/** JSON with sorted keys, so that the order in which an object was made does not matter. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
