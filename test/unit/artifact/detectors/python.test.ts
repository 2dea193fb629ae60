import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rawZip } from '../../../support/raw-zip.ts';
import { executable } from '../memory-tree.ts';
import { type Files, plan, planned, refusal } from './planned.ts';

const ENV = 'PYTHONUNBUFFERED=1\nPYTHONDONTWRITEBYTECODE=1';
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const below = (folder: string) => `${ENV}\nPYTHONPATH=${folder}\nPATH=${folder}/bin:${SYSTEM_PATH}`;
const zipApp = (main = '__main__.py') =>
  rawZip([{ name: main, content: 'print(1)' }], Buffer.from('#!/usr/bin/python3\n'));

/** A wheel of one module, with the metadata lines given. */
function wheel(name: string, version: string, metadata: string[] = [], more: [string, string][] = []): Buffer {
  return rawZip([
    { name: `${name}.py`, content: `version = "${version}"` },
    ...more.map(([path, content]) => ({ name: path, content })),
    {
      name: `${name}-${version}.dist-info/METADATA`,
      content: ['Metadata-Version: 2.1', `Name: ${name}`, ...metadata, '', 'Requires-Dist: only-text'].join('\n'),
    },
  ]);
}
const FLASK = 'Requires-Dist: werkzeug>=3; python_version >= "3.8"';

const FOUND: [string, Files, string][] = [
  [
    'a script, with a tool of another system in bin/',
    {
      'app.py': 'x',
      'bin/tool': executable(Buffer.concat([Buffer.from('cffaedfe07000001', 'hex'), Buffer.alloc(60)])),
    },
    `Python app (app.py) on python\nstarts python3 app.py in /app\n${ENV}`,
  ],
  [
    'a script',
    { 'app.py': 'x', 'lib/a.py': 'x' },
    `Python app (app.py) on python\nstarts python3 app.py in /app\n${ENV}`,
  ],
  [
    'an empty list of packages',
    { 'main.py': '', 'requirements.txt': '# none\n' },
    `Python app (main.py) on python\nstarts python3 main.py in /app\n${ENV}`,
  ],
  [
    'a zip app',
    { 'dist/shop.pyz': zipApp(), 'dist/other.pyz': zipApp() },
    `Python zip app dist/shop.pyz on python\nstarts python3 shop.pyz in /app\n${ENV}`,
  ],
  [
    'a zip app that dinp.yml names',
    { 'a/b.pyz': zipApp(), 'dinp.yml': 'artifact: a/b.pyz' },
    `Python zip app a/b.pyz on python\nstarts python3 b.pyz in /app\n${ENV}`,
  ],
  [
    'a script that dinp.yml names',
    { 'src/run.py': '', 'dinp.yml': 'artifact: src/run.py' },
    `Python app (src/run.py) on python\nstarts python3 src/run.py in /app\n${ENV}`,
  ],
  [
    'wheels, and what they need in turn',
    {
      'app.py': '',
      'requirements.txt': 'Flask==3.0\npywin32; sys_platform == "win32"\n',
      'wheels/flask-2.0-py3-none-any.whl': 'not opened',
      'wheels/flask-3.0.0-py3-none-any.whl': wheel('flask', '3.0.0', [FLASK, 'Requires-Dist: asgi; extra == "async"']),
      'wheels/Werkzeug-3.1-py3-none-any.whl': wheel('werkzeug', '3.1'),
    },
    `Python app (app.py) with 2 wheels on python\nstarts python3 app.py in /app\nbelow: /app/.python-packages\n${below('/app/.python-packages')}`,
  ],
  [
    'packages unpacked beside it',
    {
      'app.py': '',
      'requirements.txt': 'flask>=3',
      'lib/flask-3.1.0.dist-info/METADATA': 'x',
      'lib/flask/__init__.py': '',
    },
    `Python app (app.py) on python\nstarts python3 app.py in /app\nbelow: /app/lib\n${below('/app/lib')}`,
  ],
  [
    'a Procfile that starts it',
    { 'requirements.txt': '', 'shop/wsgi.py': '', Procfile: 'web: python3 -m shop.wsgi' },
    `Python app (requirements.txt) on python\nstarts the base's in /app\n${ENV}`,
  ],
  [
    'a control that starts it',
    { 'pip_requirements.txt': '', control: executable('#!/bin/sh') },
    `Python app (pip_requirements.txt) on python\nstarts ./control start in /app\n${ENV}`,
  ],
  [
    'an app that is started from outside',
    { 'main.py': 'from fastapi import FastAPI\napi = FastAPI()\n', 'requirements.txt': '-e .\n' },
    `Python app (main.py) on python\nstarts python3 main.py in /app\n${ENV}\nmain.py defines a FastAPI app and starts no server. A Procfile does: "web: uvicorn --host 0.0.0.0 --port $PORT main:api".\nrequirements.txt: "-e ." is no package by name; dinp does not install it.`,
  ],
];
describe('what is found', () => {
  for (const [name, files, expected] of FOUND) test(name, async () => assert.equal(await planned(files), expected));
});

const download = (what = '-r requirements.txt', folder = 'wheels') =>
  `Get the packages for these hosts and commit them:\n  pip download ${what} -d ${folder} --only-binary :all: --platform manylinux2014_x86_64 --python-version 3.11 && git add -f ${folder}`;
const REFUSED: [string, Files, string][] = [
  [
    'a process whose script has Windows line ends',
    { 'app.py': 'x', 'bin/run': executable('#!/bin/sh\r\n'), Procfile: 'web: ./bin/run $PORT' },
    "bin/run has Windows line ends (CRLF), with which Linux cannot start a script.\nGive it those of Unix, and push or upload it again:\n  sed -i 's/\\r$//' bin/run",
  ],
  [
    'a wheel in git-lfs',
    {
      'app.py': 'x',
      'requirements.txt': 'shop\n',
      'wheels/shop-1-py3-none-any.whl':
        'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 1\n',
    },
    'wheels/shop-1-py3-none-any.whl is a git-lfs pointer: the archive itself is not in the commit.\nTake it out of git-lfs and commit the file itself:\n  git lfs untrack wheels/shop-1-py3-none-any.whl && git rm --cached wheels/shop-1-py3-none-any.whl && git add wheels/shop-1-py3-none-any.whl',
  ],
  [
    'packages without wheels/',
    { 'app.py': '', 'requirements.txt': 'flask==3\ngunicorn' },
    `requirements.txt asks for flask==3, gunicorn, and there is no wheels/ with them.\n${download()}`,
  ],
  [
    'wheels that do not fit',
    {
      'app.py': '',
      'requirements.txt': 'flask==3.0\nnumpy\norjson\nrequests\n',
      'wheels/flask-2.3.2-py3-none-any.whl': '',
      'wheels/numpy-2.1-cp313-cp313-manylinux_2_17_x86_64.whl': '',
      'wheels/orjson-3-cp311-cp311-macosx_11_0_arm64.whl': '',
      'wheels/requests-2.32-py3-none-any.whl': wheel('requests', '2.32', ['Requires-Dist: certifi>=2017']),
    },
    `requirements.txt asks for packages that wheels/ does not have: flask==3.0 (there is 2.3.2), numpy (numpy-2.1-cp313-cp313-manylinux_2_17_x86_64.whl is for cp313, not Python 3.11), orjson (orjson-3-cp311-cp311-macosx_11_0_arm64.whl is for macosx_11_0_arm64), certifi>=2017 (needed by requests).\n${download()}`,
  ],
  [
    'an extra whose packages are not there',
    {
      'app.py': '',
      'requirements.txt': 'uvicorn[standard]',
      'wheelhouse/uvicorn-1-py3-none-any.whl': wheel('uvicorn', '1', ['Requires-Dist: httptools; extra == "standard"']),
    },
    `requirements.txt asks for packages that wheelhouse/ does not have: httptools (needed by uvicorn).\n${download('-r requirements.txt', 'wheelhouse')}`,
  ],
  [
    'the list of a pyproject.toml',
    {
      'app.py': '',
      'pyproject.toml': '[project]\nname = "shop"\ndependencies = [\n  "flask>=3", # web\n  \'a[b]\',\n]\n[tool.x]\n',
    },
    `pyproject.toml asks for flask>=3, a[b], and there is no wheels/ with them.\n${download('.')}`,
  ],
  [
    'the list of another tool',
    { 'app.py': '', Pipfile: '' },
    'Pipfile lists packages, and there is no requirements.txt with wheels/ beside it.\nWrite the list for pip, get the packages and commit both:\n  pipenv requirements > requirements.txt\n  pip download -r requirements.txt -d wheels --only-binary :all: --platform manylinux2014_x86_64 && git add -f wheels',
  ],
  [
    'nothing to start',
    { 'requirements.txt': '', 'manage.py': '', 'shop/wsgi.py': '' },
    'Nothing says how this Python app is started: there is no app.py and no main.py.\nCommit a Procfile with one line:\n  web: gunicorn --bind 0.0.0.0:$PORT shop.wsgi',
  ],
  [
    'a zip without a main',
    { 'shop.pyz': zipApp('shop.py') },
    'shop.pyz has no __main__.py, so that Python cannot start it.\nMake it with a main function:\n  python3 -m zipapp FOLDER -m "package.module:function" -o app.pyz',
  ],
  [
    'several zip apps',
    { 'bin/a.pyz': zipApp(), 'bin/b.pyz': zipApp() },
    'Several zip apps were found: bin/a.pyz, bin/b.pyz.\nSay in dinp.yml which one is meant:\n  artifact: bin/a.pyz',
  ],
];
describe('what is refused', () => {
  for (const [name, files, expected] of REFUSED) test(name, async () => assert.equal(await refusal(files), expected));
});

test('a wheel is laid as pip would, with its scripts', async () => {
  const { image, tree, watch } = await plan({
    'app.py': '',
    'requirements.txt': 'gunicorn',
    'wheels/gunicorn-23-py3-none-any.whl': wheel(
      'gunicorn',
      '23',
      [],
      [
        [
          'gunicorn-23.dist-info/entry_points.txt',
          '[gui_scripts]\nx = a:b\n[console_scripts]\ngunicorn = gunicorn.app:Run.main\nevil = os;x:y\n',
        ],
        ['gunicorn-23.data/scripts/gun.sh', '#!/bin/sh\n'],
        ['gunicorn-23.data/scripts/gun', '#!python -s\nprint(1)\n'],
        ['gunicorn-23.data/purelib/extra.py', ''],
        ['gunicorn-23.data/data/share/man.1', 'x'],
        ['gunicorn-23.data/headers/gun.h', 'x'],
      ],
    ),
  });
  assert.ok(image.kind === 'layers');
  const files = image.files.map(({ to, mode }) => `${to}${mode === '100755' ? '*' : ''}`);
  const at = '/app/.python-packages';
  assert.deepEqual(files.sort(), [
    `${at}/bin/gun*`,
    `${at}/bin/gun.sh*`,
    `${at}/bin/gunicorn*`,
    `${at}/extra.py`,
    `${at}/gunicorn-23.dist-info/METADATA`,
    `${at}/gunicorn-23.dist-info/entry_points.txt`,
    `${at}/gunicorn.py`,
    `${at}/share/man.1`,
    '/app/app.py',
    '/app/requirements.txt',
  ]);
  const textOf = async (to: string) => {
    const entry = tree.find(image.files.find((file) => file.to === to)!.from)!;
    return (await tree.head(entry, 1000)).toString();
  };
  assert.equal(
    await textOf(`${at}/bin/gunicorn`),
    '#!/usr/bin/env python3\nimport sys\nfrom gunicorn.app import Run\nsys.exit(Run.main())\n',
  );
  assert.equal(await textOf(`${at}/bin/gun`), '#!/usr/bin/env python3\nprint(1)\n');
  assert.equal(await textOf(`${at}/gunicorn.py`), 'version = "23"');
  assert.ok(watch.includes(tree.treeId('wheels')!), 'other wheels make another image');
});
