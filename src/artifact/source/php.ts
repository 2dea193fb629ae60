import { regularFile } from '../blobs.ts';
import type { SourceKind } from './proposal.ts';

export const php: SourceKind = {
  missing: 'vendor/ beside it',
  find: (tree) => (regularFile(tree, 'composer.json') ? 'composer.json' : undefined),
  build: async () => [],
  async dockerfile({ tree }) {
    const composer = regularFile(tree, 'composer.json') && tree.treeId('vendor') === undefined;
    const root = regularFile(tree, 'public/index.php') ? '/var/www/html/public' : '/var/www/html';
    // The image's web server wants port 80 and root; neither is needed.
    const settings = [
      "RUN sed -i 's/^Listen 80$/Listen 8080/' /etc/apache2/ports.conf \\",
      `  && sed -i -e 's/:80>/:8080>/' -e 's#/var/www/html#${root}#' /etc/apache2/sites-available/000-default.conf \\`,
      '  && a2enmod rewrite',
    ];
    const vendor = [
      'FROM composer:2 AS vendor',
      'WORKDIR /app',
      'COPY . .',
      'RUN composer install --no-dev --no-interaction --optimize-autoloader --ignore-platform-reqs',
      '',
    ];
    return [
      ...(composer ? vendor : []),
      'FROM php:8-apache',
      ...settings,
      composer ? 'COPY --from=vendor --chown=www-data /app /var/www/html' : 'COPY --chown=www-data . /var/www/html',
      'USER www-data',
      'EXPOSE 8080',
    ];
  },
};
