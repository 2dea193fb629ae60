import type { BaseFacts } from '../../src/domain/plan.ts';

function facts(kind: string, more: Partial<BaseFacts> = {}): BaseFacts {
  return { for: [kind], shell: true, usable: true, ...more };
}

/** A catalogue of bases as a server with everything at hand has it. */
export const BASES: ReadonlyMap<string, BaseFacts> = new Map([
  ['static', facts('binary', { shell: false })],
  ['glibc', facts('binary', { shell: false })],
  ['plain', facts('plain', { into: '/opt/app' })],
  ['static-site', facts('static', { shell: false, into: '/srv/www' })],
]);
