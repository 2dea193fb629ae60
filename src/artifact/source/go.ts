import type { Tree } from '../../domain/tree.ts';
import { readHeads, readText, regularFile } from '../blobs.ts';
import { dirName, filesIn } from '../folder.ts';
import type { SourceKind } from './proposal.ts';

export const go: SourceKind = {
  missing: 'Linux program built from it',
  find: (tree) => (regularFile(tree, 'go.mod') ? 'go.mod' : undefined),
  async build({ tree, app, hostArch }) {
    const target = await mainPackage(tree, app);
    return [
      `CGO_ENABLED=0 GOOS=linux GOARCH=${hostArch} go build -o ${app} ${target}`,
      `git add -f ${app} && git commit -m "Add the program"`,
    ];
  },
  async dockerfile({ tree, app }) {
    const version = /^go\s+(\d+\.\d+)/m.exec((await readText(tree, 'go.mod')) ?? '')?.[1] ?? '1';
    return [
      `FROM golang:${version} AS build`,
      'WORKDIR /src',
      'COPY . .',
      `RUN CGO_ENABLED=0 go build -o /out/app ${await mainPackage(tree, app)}`,
      '',
      'FROM gcr.io/distroless/static-debian12',
      'COPY --from=build /out/app /app',
      'EXPOSE 8080',
      'CMD ["/app"]',
    ];
  },
};

/** The package to build: the root where it is a program, else the one under cmd/ that is called like the app, or the first. */
async function mainPackage(tree: Tree, app: string): Promise<string> {
  const sources = filesIn(tree, ['.'])
    .get('.')!
    .filter(({ path }) => path.endsWith('.go') && !path.endsWith('_test.go'));
  for await (const { head } of readHeads(tree, sources.slice(0, 100))) {
    if (/^package main\b/m.test(head.toString())) return '.';
  }
  const commands = new Set(
    tree.entries.filter(({ path }) => /^cmd\/[^/]+\/[^/]+\.go$/.test(path)).map(({ path }) => dirName(path)),
  );
  const chosen = commands.has(`cmd/${app}`) ? `cmd/${app}` : [...commands][0];
  return chosen === undefined ? '.' : `./${chosen}`;
}
