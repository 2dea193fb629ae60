import { readText, regularFile } from '../blobs.ts';
import type { SourceKind } from './proposal.ts';

export const ruby: SourceKind = {
  missing: 'Dockerfile',
  find: (tree) => (regularFile(tree, 'Gemfile') ? 'Gemfile' : undefined),
  build: async () => [],
  async dockerfile({ tree }) {
    const gems = (await readText(tree, 'Gemfile')) ?? '';
    const common = ['WORKDIR /app', 'COPY . .', 'RUN bundle install'];
    if (/gem\s+["']jekyll["']/.test(gems)) {
      return [
        'FROM ruby:3 AS build',
        ...common,
        'RUN bundle exec jekyll build',
        '',
        'FROM nginxinc/nginx-unprivileged:stable',
        'COPY --from=build /app/_site /usr/share/nginx/html',
        'EXPOSE 8080',
      ];
    }
    const start = regularFile(tree, 'bin/rails')
      ? '["bundle", "exec", "rails", "server", "-b", "0.0.0.0", "-p", "8080"]'
      : regularFile(tree, 'config.ru')
        ? '["bundle", "exec", "rackup", "--host", "0.0.0.0", "--port", "8080"]'
        : `["bundle", "exec", "ruby", "${['app.rb', 'main.rb', 'server.rb'].find((path) => regularFile(tree, path)) ?? 'app.rb'}"]`;
    return ['FROM ruby:3', 'ENV RACK_ENV=production RAILS_ENV=production', ...common, 'EXPOSE 8080', `CMD ${start}`];
  },
};

export const deno: SourceKind = {
  missing: 'Dockerfile',
  find: (tree) => ['deno.json', 'deno.jsonc'].find((path) => regularFile(tree, path)),
  build: async () => [],
  async dockerfile({ tree }) {
    const config = (await readText(tree, 'deno.json')) ?? (await readText(tree, 'deno.jsonc')) ?? '';
    const hasStart = /"tasks"\s*:\s*\{[^}]*"start"\s*:/.test(config);
    const file =
      ['main.ts', 'server.ts', 'app.ts', 'main.js', 'server.js'].find((path) => regularFile(tree, path)) ?? 'main.ts';
    return [
      'FROM denoland/deno:latest',
      'WORKDIR /app',
      'COPY . .',
      ...(regularFile(tree, file) ? [`RUN deno cache ${file}`] : []),
      'EXPOSE 8080',
      hasStart
        ? 'CMD ["deno", "task", "start"]'
        : `CMD ["deno", "run", "--allow-net", "--allow-env", "--allow-read", "${file}"]`,
    ];
  },
};
