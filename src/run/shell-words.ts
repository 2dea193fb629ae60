/**
 * One command line of words, which a POSIX shell reads back
 * as exactly these: SSH has no argv, the account's shell there splits what it is sent.
 * @throws Error for a NUL, which no program's argument can hold
 */
export function shellWords(words: string[]): string {
  return words.map(shellWord).join(' ');
}

function shellWord(word: string): string {
  if (word.includes('\0')) throw new Error('an argument cannot hold a NUL');
  return /^[A-Za-z0-9_@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
