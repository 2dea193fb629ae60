import type { App } from '../domain/app.ts';
import { printable } from '../domain/names.ts';
import type { RefCommand } from '../domain/ref-command.ts';

/** The ref that redeploys what the deploy branch holds; it is answered and never stored. */
export const REDEPLOY_REF = 'refs/deploy/now';

const PUSH_OPTIONS: Record<string, string> = {
  'no-cache': 'build from nothing, reuse no image',
  detach: 'end the push at once and leave the build running',
};

export interface Verdict {
  ok: boolean;
  /** Lines for the pusher's terminal. */
  text: string;
  /** Few words for git's own status line. */
  reason: string;
}

const ACCEPTED: Verdict = { ok: true, text: '', reason: '' };

/** What the rules need to know of an app and of the push in hand. */
export interface PushContext {
  app: Pick<App, 'name' | 'deployBranch'>;
  /** Every command of the push. */
  asked: RefCommand[];
  options: string[];
  /** Where the deploy branch stands now; undefined while it does not exist. */
  tip: string | undefined;
}

export interface PushOptions {
  noCache: boolean;
  detach: boolean;
}

/** Reads `-o` options that judgePush has let through. */
export function parsePushOptions(options: string[]): PushOptions {
  return { noCache: options.includes('no-cache'), detach: options.includes('detach') };
}

/** Judges a push as a whole, before any ref: its options, and which branch a first push makes the deploy branch. */
export function judgePush(context: PushContext): Verdict {
  const unknown = context.options.filter((option) => !(option in PUSH_OPTIONS));
  if (unknown.length > 0) {
    const list = Object.entries(PUSH_OPTIONS).map(([name, what]) => `    -o ${name.padEnd(9)} ${what}`);
    return refuse(
      `Unknown push option "${printable(unknown[0]!)}". There are:\n${list.join('\n')}`,
      'unknown push option',
    );
  }
  const branches = pushedBranches(context.asked);
  if (context.app.deployBranch === undefined && branches.length > 1 && deployBranchOf(context) === undefined) {
    return refuse(
      `Which of these branches shall deploy? ${branches.map(printable).join(', ')}\n` +
        `The first push to an app decides it: push that one alone first, for example\n\n    git push dinp ${printable(branches[0]!)}`,
      'several branches, no main or master',
    );
  }
  return ACCEPTED;
}

/** Judges one ref of a push; the others go on without it. */
export function judgeRef(context: PushContext, command: RefCommand): Verdict {
  const deletes = isZero(command.new);
  if (command.ref === REDEPLOY_REF) return judgeRedeploy(context, command);
  if (command.ref.startsWith('refs/tags/')) return ACCEPTED;
  if (command.ref.startsWith('refs/deploy/')) {
    return refuse(`There is no ${printable(command.ref)}; ${REDEPLOY_REF} deploys again.`, 'unknown deploy ref');
  }
  if (!command.ref.startsWith('refs/heads/')) {
    return refuse(
      `${printable(command.ref)} is not stored here: only the deploy branch and tags are.`,
      'only branches and tags',
    );
  }
  const deployBranch = deployBranchOf(context);
  const branch = command.ref.slice('refs/heads/'.length);
  if (branch !== deployBranch) {
    if (deletes) return ACCEPTED;
    return refuse(
      `Branch ${printable(branch)} does not deploy ${context.app.name}; ${deployBranch} does. To deploy it:\n\n` +
        `    git push dinp ${printable(branch)}:${deployBranch}\n\n` +
        `To make it the deploy branch: dinp apps set ${context.app.name} --branch ${printable(branch)}`,
      `${deployBranch} is the deploy branch`,
    );
  }
  if (deletes) {
    return refuse(
      `${deployBranch} is the deploy branch of ${context.app.name} and cannot be deleted. To take the app down:\n\n` +
        `    dinp stop ${context.app.name}      keeps it, dinp start brings it back\n` +
        `    dinp apps destroy ${context.app.name}   removes it`,
      'deploy branch',
    );
  }
  return ACCEPTED;
}

/**
 * The branch whose pushes deploy: the app's, or for a first push the only one pushed, main or master of several.
 * undefined where nothing decides it.
 */
export function deployBranchOf(context: Pick<PushContext, 'app' | 'asked'>): string | undefined {
  if (context.app.deployBranch !== undefined) return context.app.deployBranch;
  const branches = pushedBranches(context.asked);
  if (branches.length === 1) return branches[0];
  return ['main', 'master'].find((name) => branches.includes(name));
}

function judgeRedeploy(context: PushContext, command: RefCommand): Verdict {
  const branch = deployBranchOf(context);
  const pushed = context.asked.find((other) => other.ref === `refs/heads/${branch}`)?.new;
  const tip = pushed ?? context.tip;
  if (tip === undefined || branch === undefined) {
    return refuse('Nothing was pushed to this app yet: push a branch first.', 'nothing to deploy');
  }
  if (command.new === tip) return ACCEPTED;
  return refuse(
    `${REDEPLOY_REF} deploys what ${branch} holds here (${tip.slice(0, 7)}) again. To deploy ${command.new.slice(0, 7)} instead:\n\n` +
      `    git push --force dinp ${command.new.slice(0, 7)}:refs/heads/${branch}`,
    `not the tip of ${branch}`,
  );
}

function pushedBranches(asked: RefCommand[]): string[] {
  return asked
    .filter((command) => command.ref.startsWith('refs/heads/') && !isZero(command.new))
    .map((command) => command.ref.slice(11));
}

/** git's way to say "no object": 40 or 64 zeros. */
export function isZero(oid: string): boolean {
  return /^0+$/.test(oid);
}

function refuse(text: string, reason: string): Verdict {
  return { ok: false, text, reason };
}
