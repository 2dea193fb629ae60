import { DinpError } from '../../domain/errors.ts';
import { regularFile } from '../blobs.ts';
import { dotnet, elixir, rust } from './compiled.ts';
import { go } from './go.ts';
import { gradle, maven } from './java.ts';
import { node } from './node.ts';
import { php } from './php.ts';
import { dockerfileHint, type SourceKind, type SourceTree } from './proposal.ts';
import { python } from './python.ts';
import { deno, ruby } from './scripted.ts';

/** In the order of how surely the file says what the repository is: a package.json is often only for tools. */
const KINDS: readonly SourceKind[] = [go, maven, gradle, rust, elixir, dotnet, php, ruby, python, deno, node];

/** The language that the sources are written in, by the files that package tools want. */
export async function findSource(source: SourceTree): Promise<{ marker: string; kind: SourceKind } | undefined> {
  for (const kind of KINDS) {
    const marker = kind.find(source.tree);
    if (marker !== undefined) return { marker, kind };
  }
  return undefined;
}

/** Sources without anything built from them: says so, with the Dockerfile that would build them. */
export async function refuseSource(
  source: SourceTree,
  { marker, kind }: { marker: string; kind: SourceKind },
): Promise<DinpError> {
  const build = await kind.build(source);
  const dockerfile = dockerfileHint(await kind.dockerfile(source));
  const committed = [
    'Build it and commit the result:',
    '',
    ...build.map((line) => `  ${line}`),
    '',
    'Or let the server build it.',
  ];
  const hint = [...(build.length === 0 ? [] : committed), dockerfile];
  const page = ['index.html', 'public/index.html'].find((path) => regularFile(source.tree, path));
  if (page !== undefined) hint.push('', `If ${page} is all that shall be served, write into dinp.yml: type: static`);
  return new DinpError(
    'refused',
    `${marker} found but no ${kind.missing}: dinp packages what is built, and compiles nothing without a Dockerfile.`,
    {
      hint: hint.join('\n'),
    },
  );
}
