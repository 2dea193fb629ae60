/**
 * The whole environment of every git process: nothing of ours is inherited, so neither GIT_* variables, nor the
 * machine's or a user's configuration, nor attributes files reach a repository. Replace refs are never followed: a
 * pushed refs/replace would serve other content than its object id says.
 */
export function gitEnvironment(): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C.UTF-8',
    HOME: '/nonexistent',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_NO_LAZY_FETCH: '1',
    // What read-ref.ts reads; later versions of git have another format, and may make it the default.
    GIT_DEFAULT_REF_FORMAT: 'files',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: '',
    GIT_PAGER: 'cat',
  };
}
