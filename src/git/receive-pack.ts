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
 * The command line and the whole environment of `git receive-pack` or `git upload-pack`. How repositories behave is in
 * their own configuration (repository-config.ts); what depends on this process travels as GIT_CONFIG_* variables, which
 * win over it, and which every child of git (index-pack, hooks) has.
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
    ...configEnvironment(processConfig(settings)),
  };
  if (protocol !== undefined && GIT_PROTOCOL.test(protocol)) env.GIT_PROTOCOL = protocol;
  return { file: settings.git, args: [service.slice('git-'.length), repository], env };
}

function processConfig(settings: GitServiceSettings): [string, string][] {
  return [
    // The repository's folder may belong to another user than the process that serves it; git takes this from nowhere
    // else, nor the next.
    ['safe.directory', '*'],
    ['safe.bareRepository', 'explicit'],
    ['core.hooksPath', settings.hooks],
    ['receive.maxInputSize', String(settings.maxPackBytes)],
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
