import { DinpError } from '../../domain/errors.ts';
import type { Tree } from '../../domain/tree.ts';
import { regularFile } from '../blobs.ts';
import type { Detector } from '../detector.ts';
import { node as nodeSource } from '../source/node.ts';
import { readPackageJson } from '../source/package-json.ts';
import { php as phpSource } from '../source/php.ts';
import { dockerfileHint } from '../source/proposal.ts';
import { python as pythonSource } from '../source/python.ts';

/** A PHP site, ready to serve. This version proposes a Dockerfile for it. */
export const php: Detector = {
  kind: 'php',
  async detect(candidate) {
    const { tree } = candidate;
    const evidence =
      firstFile(tree, ['index.php', 'public/index.php']) ??
      (tree.treeId('vendor') && firstFile(tree, ['composer.json']));
    if (!evidence) return undefined;
    throw notYet(evidence, 'PHP', await phpSource.dockerfile(candidate));
  },
};

/** A Python app. This version proposes a Dockerfile for it. */
export const python: Detector = {
  kind: 'python',
  async detect(candidate) {
    const evidence = firstFile(candidate.tree, ['requirements.txt', 'pip_requirements.txt', 'app.py', 'main.py']);
    if (evidence === undefined) return undefined;
    throw notYet(evidence, 'Python', await pythonSource.dockerfile(candidate));
  },
};

/** A Node.js app that is ready to start. This version proposes a Dockerfile for it. */
export const node: Detector = {
  kind: 'node',
  async detect(candidate) {
    const { tree } = candidate;
    const manifest = await readPackageJson(tree);
    if (manifest === undefined) {
      const bundled = firstFile(tree, ['server.js', 'dist/server.js']);
      if (bundled === undefined) return undefined;
      throw notYet(bundled, 'Node.js', [
        'FROM node:24-slim',
        'WORKDIR /app',
        'COPY . .',
        'EXPOSE 8080',
        `CMD ["node", "${bundled}"]`,
      ]);
    }
    if (manifest.frontend || (manifest.start === undefined && manifest.main === undefined)) return undefined;
    const lines = await nodeSource.dockerfile(candidate);
    if (manifest.hasDependencies && tree.treeId('node_modules') === undefined) {
      throw new DinpError('refused', 'package.json lists dependencies but node_modules/ is missing.', {
        hint: dockerfileHint(lines) + staticHint(tree),
      });
    }
    throw notYet('package.json', 'Node.js', lines);
  },
};

/** Packages of web pages, such as a library's dist, have a package.json too. */
function staticHint(tree: Tree): string {
  const page = firstFile(tree, ['index.html', 'public/index.html', 'dist/index.html']);
  return page === undefined
    ? ''
    : `\nOr, to publish ${page} and what is beside it as it is, write into dinp.yml:\n  type: static`;
}

function firstFile(tree: Tree, paths: string[]): string | undefined {
  return paths.find((path) => regularFile(tree, path));
}

function notYet(evidence: string, runtime: string, dockerfile: string[]): DinpError {
  return new DinpError(
    'refused',
    `${evidence} found: this version of dinp cannot lay a ${runtime} app over a base by itself yet.`,
    {
      hint: dockerfileHint(dockerfile),
    },
  );
}
