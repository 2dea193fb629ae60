import type { DeployPlan } from '../domain/plan.ts';
import { EMPTY_TREE } from '../domain/tree.ts';
import { planProcesses } from './processes.ts';

/** The plan of an app that is an image by address: one `web` process, run as the image says. */
export function planImage(app: string, reference: string): DeployPlan {
  const { processes } = planProcesses({ manifest: {} }, { imageStarts: true });
  return {
    services: [
      {
        name: app,
        found: `image ${reference}`,
        image: { kind: 'image', reference },
        tree: EMPTY_TREE,
        watch: [],
        processes,
        env: {},
        releaseCommand: undefined,
        timeoutMs: undefined,
        repository: undefined,
        deploys: true,
      },
    ],
    target: undefined,
    domains: [],
    keep: {},
    notes: [],
  };
}
