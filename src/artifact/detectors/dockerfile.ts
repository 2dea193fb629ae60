import { DinpError } from '../../domain/errors.ts';
import type { Detector } from '../detector.ts';

/** A Dockerfile: the repository says itself how it is built. Its context is the service's folder. */
export const dockerfile: Detector = {
  kind: 'dockerfile',
  async detect({ tree, manifest }) {
    if (manifest.artifact !== undefined || manifest.root !== undefined) return undefined;
    const path = manifest.dockerfile ?? 'Dockerfile';
    const entry = tree.find(path);
    if (entry === undefined) {
      if (manifest.dockerfile === undefined && manifest.type !== 'dockerfile') return undefined;
      throw new DinpError('refused', `dinp.yml says dockerfile: ${path}, which is not in the commit.`, {
        hint: `Add it (git add ${path}), or correct dockerfile: in dinp.yml.`,
      });
    }
    if (entry.mode === '120000') {
      const target = (await tree.head(entry, 200)).toString();
      throw new DinpError('refused', `${path} is a symbolic link to ${target}; links of a commit are not followed.`, {
        hint: `Name the file itself in dinp.yml:\n  dockerfile: ${target}`,
      });
    }
    if (manifest.base !== undefined) {
      throw new DinpError('refused', `dinp.yml names a base, and ${path} is there as well.`, {
        hint: `A base is for prebuilt artifacts. Remove base: from dinp.yml and let FROM in ${path} name it, or say type: binary, static or plain.`,
      });
    }
    return {
      found: path,
      image: { kind: 'dockerfile', context: '.', dockerfile: path, stage: manifest.stage, args: manifest.args ?? {} },
      watch: [tree.treeId('.')!],
      notes: entry.size === 0 ? [`${path} is empty.`] : [],
    };
  },
};
