import { planDeploy } from '../../../../src/artifact/plan-deploy.ts';
import type { BaseFacts, ServicePlan } from '../../../../src/domain/plan.ts';
import type { Tree } from '../../../../src/domain/tree.ts';
import { type RawEntry, rawZip } from '../../../support/raw-zip.ts';
import { type FileSpec, memoryTree } from '../memory-tree.ts';

const ROOT = '/usr/local/tomcat/webapps/ROOT';

function base(kind: string, version: string, more: Partial<BaseFacts> = {}): BaseFacts {
  return { for: [kind], version, shell: true, usable: true, ...more };
}

export const JAVA_BASES: ReadonlyMap<string, BaseFacts> = new Map([
  ['tomcat9', base('war', '17', { when: 'javax', into: ROOT })],
  ['tomcat10', base('war', '17', { when: 'jakarta', into: ROOT })],
  ['tomcat10-java21', base('war', '21', { when: 'jakarta', into: ROOT, usable: false })],
  ['jre25', base('jar', '25', { usable: false })],
  ['jre21', base('jar', '21')],
  ['jre8', base('jar', '8', { usable: false })],
  ['jre17', base('jar', '17.0.13')],
]);

export async function planJava(
  files: Record<string, FileSpec> | Tree,
  bases: ReadonlyMap<string, BaseFacts> = JAVA_BASES,
): Promise<{ service: ServicePlan; notes: string[]; scope: AsyncDisposableStack }> {
  const scope = new AsyncDisposableStack();
  const tree = 'entries' in files && 'oid' in files ? (files as Tree) : memoryTree(files as Record<string, FileSpec>);
  try {
    const plan = await planDeploy(tree, { app: 'shop', hostArch: 'amd64', bases, scope });
    return { service: plan.services[0]!, notes: plan.notes, scope };
  } catch (error) {
    await scope.disposeAsync();
    throw error;
  }
}

/** An archive of these files: path to content. */
export function zipOf(files: Record<string, string | Buffer>): Buffer {
  return rawZip(Object.entries(files).map(([name, content]): RawEntry => ({ name, content })));
}
