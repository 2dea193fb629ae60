import { gitEnvironment } from './environment.ts';

/** The two git programs that a client may start over SSH. */
export type GitService = 'git-receive-pack' | 'git-upload-pack';

/** What is the same for every git process that serves a client. */
export interface GitServiceSettings {
  /** Absolute path of git: looking it up costs a directory walk at every push. */
  git: string;
  /** Folder of our hooks; nothing is copied into repositories. */
  hooks: string;
  /** Largest pack that a push may bring, in bytes. */
  maxPackBytes: number;
}

/** A process to spawn, without a shell. */
export interface GitCommand {
  file: string;
  args: string[];
  env: Record<string, string>;
}

const GIT_PROTOCOL = /^version=[012]$/;

/**
 * The command line and the whole environment of `git receive-pack` or `git upload-pack`. Settings travel as
 * GIT_CONFIG_* variables: they win over a repository's own file, and every child of git (index-pack, hooks) has them.
 * @param protocol what the client asked for in GIT_PROTOCOL; anything but `version=0..2` is dropped
 */
export function gitServiceCommand(
  service: GitService,
  repository: string,
  settings: GitServiceSettings,
  protocol?: string,
): GitCommand {
  const env: Record<string, string> = {
    ...gitEnvironment(),
    // Hooks are sh, and sh counts bytes in this one.
    LC_ALL: 'C',
    ...configEnvironment(service === 'git-receive-pack' ? receiveConfig(settings) : UPLOAD_CONFIG),
  };
  if (protocol !== undefined && GIT_PROTOCOL.test(protocol)) env.GIT_PROTOCOL = protocol;
  return { file: settings.git, args: [service.slice('git-'.length), repository], env };
}

const COMMON_CONFIG: [string, string][] = [
  // The repository's folder may belong to another user than the process that serves it.
  ['safe.directory', '*'],
  ['safe.bareRepository', 'explicit'],
  ['transfer.hideRefs', 'refs/dinp'],
  // A pushed refs/replace would serve other content under the same id.
  ['core.useReplaceRefs', 'false'],
  ['core.protectHFS', 'true'],
  ['core.protectNTFS', 'true'],
  ['protocol.allow', 'never'],
  ['submodule.recurse', 'false'],
  ['gc.auto', '0'],
];

const UPLOAD_CONFIG: [string, string][] = [...COMMON_CONFIG, ['uploadpack.allowFilter', 'true']];

function receiveConfig(settings: GitServiceSettings): [string, string][] {
  return [
    ...COMMON_CONFIG,
    ['core.hooksPath', settings.hooks],
    // What is acknowledged is on the disk. Objects arrive as one pack, so this is a handful of calls.
    ['core.fsync', 'all'],
    // A pack is indexed as it is, and large files are not read into memory: four times faster, a hundredth of the memory.
    ['receive.unpackLimit', '1'],
    ['core.bigFileThreshold', '16m'],
    ['transfer.fsckObjects', 'true'],
    ['receive.fsckObjects', 'true'],
    ['receive.maxInputSize', String(settings.maxPackBytes)],
    ['receive.advertisePushOptions', 'true'],
    ['receive.procReceiveRefs', 'refs/deploy'],
    ['receive.autogc', 'false'],
    ['receive.updateServerInfo', 'false'],
    ['receive.denyCurrentBranch', 'ignore'],
    ['receive.denyDeleteCurrent', 'ignore'],
  ];
}

/** Settings in git's own variables (git-config(1), GIT_CONFIG_COUNT). */
function configEnvironment(config: [string, string][]): Record<string, string> {
  const env: Record<string, string> = { GIT_CONFIG_COUNT: String(config.length) };
  config.forEach(([key, value], i) => {
    env[`GIT_CONFIG_KEY_${i}`] = key;
    env[`GIT_CONFIG_VALUE_${i}`] = value;
  });
  return env;
}
