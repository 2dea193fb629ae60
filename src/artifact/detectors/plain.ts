import { DinpError } from '../../domain/errors.ts';
import { chooseBase, type Detector, hasControl, isPlumbing } from '../detector.ts';
import { layFolder } from '../folder.ts';

const DEFAULT_INTO = '/opt/app';

/** A tree with an executable `control` in it, or anything that dinp.yml calls plain and gives commands for. */
export const plain: Detector = {
  kind: 'plain',
  async detect(candidate) {
    // Commands of a Procfile go before "./control start", and it is still a control's tree that they start.
    const control = hasControl(candidate);
    if (!control && candidate.manifest.type !== 'plain') return undefined;
    if (!control && !candidate.commandsGiven) {
      throw new DinpError('refused', 'dinp.yml says type: plain, and nothing says what to start.', {
        hint: 'Add an executable script called control (it is run as "./control start"), or to dinp.yml:\n  processes:\n    web: ./start.sh',
      });
    }
    const { name, facts } = chooseBase(candidate, 'plain');
    const into = facts.into ?? DEFAULT_INTO;
    const { files, watch } = layFolder(candidate.tree, '.', into, isPlumbing);
    const command = control ? ['./control', 'start'] : undefined;
    return {
      found: control ? 'executable control' : `plain tree (${files.length} ${files.length === 1 ? 'file' : 'files'})`,
      image: {
        kind: 'layers',
        artifact: 'plain',
        base: name,
        files,
        dependencies: [],
        workdir: into,
        command,
        env: {},
        port: undefined,
      },
      watch,
      notes: [],
    };
  },
};
