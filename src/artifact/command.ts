/** Characters that a shell gives a meaning; a command without them means the same to a shell and split at spaces. */
const SHELL_CHARACTERS = /[|&;<>()$`\\"'*?[\]#~{}!\n\r]/;
/** First words that only a shell knows. */
const SHELL_WORDS = new Set(
  '. : alias bg break case cd command continue eval exec exit export fg for getopts hash if jobs local read readonly return set shift source time times trap type ulimit umask unset until wait while'.split(
    ' ',
  ),
);

/** The argv of a command as people write it: split at spaces where no shell is needed, else for `/bin/sh -c`. */
export function parseCommand(text: string): string[] {
  const trimmed = text.trim();
  const words = trimmed.split(/[ \t]+/);
  const first = words[0]!;
  const needsShell = SHELL_CHARACTERS.test(trimmed) || SHELL_WORDS.has(first) || first.includes('=');
  return needsShell ? ['/bin/sh', '-c', trimmed] : words;
}

/** Whether parseCommand found that a shell is needed (or a shell was asked for by name). */
export function needsShell(command: readonly string[]): boolean {
  return command[0] === '/bin/sh' || command[0] === 'sh';
}
