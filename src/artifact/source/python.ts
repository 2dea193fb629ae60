import type { Tree } from '../../domain/tree.ts';
import { readText, regularFile } from '../blobs.ts';
import type { SourceKind } from './proposal.ts';

const MARKERS = ['requirements.txt', 'pip_requirements.txt', 'pyproject.toml', 'setup.py', 'Pipfile'];

export const python: SourceKind = {
  missing: 'app.py or main.py',
  find: (tree) => MARKERS.find((path) => regularFile(tree, path)),
  build: async () => [],
  async dockerfile({ tree }) {
    const command = await startCommand(tree);
    if (regularFile(tree, 'uv.lock')) {
      return [
        'FROM ghcr.io/astral-sh/uv:python3.13-bookworm-slim',
        'WORKDIR /app',
        'COPY . .',
        'RUN uv sync --frozen --no-dev',
        'EXPOSE 8080',
        `CMD ${asJson(['uv', 'run', ...command])}`,
      ];
    }
    return [
      'FROM python:3-slim',
      'WORKDIR /app',
      'COPY . .',
      ...install(tree),
      'ENV PYTHONUNBUFFERED=1',
      'EXPOSE 8080',
      ...guessed(tree),
      `CMD ${asJson(command)}`,
    ];
  },
};

function install(tree: Tree): string[] {
  const list = ['requirements.txt', 'pip_requirements.txt'].find((path) => regularFile(tree, path));
  if (list !== undefined) return [`RUN pip install --no-cache-dir -r ${list}`];
  if (regularFile(tree, 'Pipfile'))
    return ['RUN pip install --no-cache-dir pipenv && pipenv install --system --deploy'];
  return regularFile(tree, 'pyproject.toml') || regularFile(tree, 'setup.py')
    ? ['RUN pip install --no-cache-dir .']
    : [];
}

/** The servers that frameworks are started by, on all addresses and the port that the Dockerfile exposes. */
async function startCommand(tree: Tree): Promise<string[]> {
  const listed = (await Promise.all([...MARKERS, 'uv.lock'].map((path) => readText(tree, path))))
    .join('\n')
    .toLowerCase();
  const file = ['app.py', 'main.py', 'server.py', 'wsgi.py'].find((path) => regularFile(tree, path)) ?? 'app.py';
  const module = file.replace(/\.py$/, '');
  if (regularFile(tree, 'manage.py')) return ['python', 'manage.py', 'runserver', '0.0.0.0:8080'];
  const text = (await readText(tree, file)) ?? '';
  const variable = /^(\w+)\s*=\s*(?:Flask|FastAPI|Starlette|Quart)\(/m.exec(text)?.[1];
  if (/\buvicorn\b/.test(listed) && variable)
    return ['uvicorn', `${module}:${variable}`, '--host', '0.0.0.0', '--port', '8080'];
  if (/\bgunicorn\b/.test(listed) && variable) return ['gunicorn', '--bind', '0.0.0.0:8080', `${module}:${variable}`];
  if (/\bflask\b/.test(listed) && variable)
    return ['flask', '--app', module, 'run', '--host', '0.0.0.0', '--port', '8080'];
  return ['python', file];
}

/** Where no file has a usual name, the last line is a guess. */
function guessed(tree: Tree): string[] {
  const known = ['app.py', 'main.py', 'server.py', 'wsgi.py', 'manage.py'].some((path) => regularFile(tree, path));
  return known ? [] : ['# The command that starts it: change app.py to your file'];
}

function asJson(words: string[]): string {
  return JSON.stringify(words).replaceAll('","', '", "');
}
