import type { Tree } from '../../domain/tree.ts';
import { regularFile } from '../blobs.ts';
import { readPackageJson } from './package-json.ts';
import type { SourceKind } from './proposal.ts';

export const node: SourceKind = {
  missing: 'start script, main file or built dist/index.html',
  find: (tree) => (regularFile(tree, 'package.json') ? 'package.json' : undefined),
  async build({ tree }) {
    const manifest = await readPackageJson(tree);
    if (!manifest?.frontend || manifest.output !== 'dist') return [];
    return ['npm run build', 'git add -f dist && git commit -m "Add the built pages"'];
  },
  async dockerfile({ tree }) {
    const manifest = await readPackageJson(tree);
    const build = [
      'WORKDIR /app',
      'COPY . .',
      `RUN ${install(tree)}`,
      ...(manifest?.builds ? [`RUN ${runner(tree)} run build`] : []),
    ];
    if (manifest?.frontend) {
      return [
        'FROM node:24-slim AS build',
        ...build,
        '',
        'FROM nginxinc/nginx-unprivileged:stable',
        `COPY --from=build /app/${manifest.output} /usr/share/nginx/html`,
        'EXPOSE 8080',
      ];
    }
    const start = manifest?.start === undefined ? ['node', manifest?.main ?? 'index.js'] : ['npm', 'start'];
    return [
      'FROM node:24-slim',
      ...build,
      'ENV NODE_ENV=production',
      'EXPOSE 8080',
      `CMD ${JSON.stringify(start).replaceAll(',', ', ')}`,
    ];
  },
};

function install(tree: Tree): string {
  if (tree.find('pnpm-lock.yaml')) return 'npm install -g pnpm && pnpm install --frozen-lockfile';
  if (tree.find('yarn.lock')) return 'yarn install --frozen-lockfile';
  return tree.find('package-lock.json') ? 'npm ci' : 'npm install';
}

function runner(tree: Tree): string {
  if (tree.find('pnpm-lock.yaml')) return 'pnpm';
  return tree.find('yarn.lock') ? 'yarn' : 'npm';
}
