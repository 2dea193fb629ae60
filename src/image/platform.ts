import type { Descriptor } from './registry/registry.ts';

/**
 * The entry of an image index for a platform: of the same variant where one is wanted, else the first that fits.
 * @param platform `linux/amd64` or `linux/arm/v7`
 */
export function findPlatform(entries: readonly Descriptor[], platform: string): Descriptor | undefined {
  const [os, architecture, variant] = platform.split('/');
  const fitting = entries.filter((each) => each.platform?.os === os && each.platform?.architecture === architecture);
  return fitting.find((each) => variant === undefined || each.platform?.variant === variant);
}
