import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { environmentOf, markerHolds } from '../../../src/artifact/python/markers.ts';
import { parseRequirement, readRequirements } from '../../../src/artifact/python/requirements.ts';
import { compareVersions, fitsSpecifier } from '../../../src/artifact/python/versions.ts';
import { parseWheelName, wheelProblem } from '../../../src/artifact/python/wheel-name.ts';
import { memoryTree } from './memory-tree.ts';

test('versions are in the order of PEP 440', () => {
  const ordered = ['1.0.dev1', '1.0a1', '1.0b2', '1.0rc1', '1.0', '1.0.post1', '1.0.1', '1.2', '1.10', '2', '1!0.1'];
  for (const [i, version] of ordered.entries()) {
    for (const [j, other] of ordered.entries())
      assert.equal(Math.sign(compareVersions(version, other)!), Math.sign(i - j), `${version} ${other}`);
  }
  assert.equal(compareVersions('1.0', '1.0.0'), 0);
  assert.equal(compareVersions('1.0', 'later'), undefined);
});

const SPECIFIERS: [string, string, boolean][] = [
  ['2.3.1', '==2.3.1', true],
  ['2.3', '==2.3.0', true],
  ['2.3.2', '==2.3.1', false],
  ['2.3.2', '==2.3.*', true],
  ['2.3.2', '!=2.3.*', false],
  ['2.3.2', '>=2.2,<3', true],
  ['3.0', '>=2.2,<3', false],
  ['2.3.2', '~=2.2', true],
  ['3.0', '~=2.2', false],
  ['2.3.9', '~=2.3.1', true],
  ['2.4', '~=2.3.1', false],
  ['2.4', '', true],
  ['2.4', 'at least 3', true],
];
for (const [version, specifier, fits] of SPECIFIERS) {
  test(`${version} ${fits ? 'fits' : 'does not fit'} "${specifier}"`, () =>
    assert.equal(fitsSpecifier(version, specifier), fits));
}

const MARKERS: [string, boolean][] = [
  ['sys_platform == "win32"', false],
  ["sys_platform != 'win32'", true],
  ['python_version < "3.8"', false],
  ['python_version >= "3.8"', true],
  ['python_version < "3.8" or sys_platform == "linux"', true],
  ['(python_version < "3.8" or os_name == "nt") and sys_platform == "linux"', false],
  ['platform_machine in "x86_64 amd64"', true],
  ['sys_platform not in "win32 darwin"', true],
  ['extra == "test"', false],
  ['unheard_of == "1"', true],
  ['not a marker at all (', true],
];
for (const [marker, holds] of MARKERS) {
  test(`${marker} ${holds ? 'holds' : 'does not hold'}`, () =>
    assert.equal(markerHolds(marker, { ...environmentOf('3.11', 'amd64'), extra: '' }), holds));
}

test('markers know the whole version where the base says it', () => {
  const marker = 'python_full_version >= "3.11.3"';
  assert.equal(markerHolds(marker, environmentOf('3.11.2', 'amd64')), false);
  assert.equal(markerHolds(marker, environmentOf('3.11', 'amd64')), true);
  assert.equal(markerHolds('python_version == "3.11"', environmentOf('3.11.2', 'amd64')), true);
  assert.equal(markerHolds('python_version < "3"', environmentOf('3', 'amd64')), true);
});

test('requirements in all spellings', () => {
  const read = (text: string) => {
    const { name, extras, specifier, marker } = parseRequirement(text)!;
    return [name, extras.join(), specifier, marker];
  };
  assert.deepEqual(read('Flask'), ['flask', '', '', undefined]);
  assert.deepEqual(read('ruamel.yaml==0.18.6'), ['ruamel-yaml', '', '==0.18.6', undefined]);
  assert.deepEqual(read('uvicorn[standard] >= 0.30, <1 ; python_version > "3"'), [
    'uvicorn',
    'standard',
    '>= 0.30, <1',
    'python_version > "3"',
  ]);
  assert.deepEqual(read('zope.interface (>=4)'), ['zope-interface', '', '>=4', undefined]);
  assert.deepEqual(read('shop @ https://example.org/shop.whl'), ['shop', '', '', undefined]);
  assert.equal(parseRequirement('./wheels/a.whl'), undefined);
});

test('a requirements file with everything that pip knows', async () => {
  const tree = memoryTree({
    'requirements.txt': `# what the shop needs
--index-url https://example.org/simple
-r more/base.txt
-e .
./local/thing.whl
flask==3.0.3 \\
    --hash=sha256:${'a'.repeat(64)}
gunicorn  # the server
-c constraints.txt
`,
    'more/base.txt': '-r ../requirements.txt\n-r extra.txt\n',
    'more/extra.txt': 'requests>=2\n',
  });
  const { requirements, others } = await readRequirements(tree, 'requirements.txt');
  assert.deepEqual(
    requirements.map(({ text }) => text),
    ['flask==3.0.3', 'gunicorn', 'requests>=2'],
  );
  assert.deepEqual(others, ['-e .', './local/thing.whl']);
});

describe('wheels', () => {
  const problem = (file: string, version: string | undefined = '3.11', arch = 'amd64') =>
    wheelProblem(parseWheelName(file)!, version, arch);
  test('that fit', () => {
    assert.equal(problem('flask-3.0.3-py3-none-any.whl'), undefined);
    assert.equal(problem('six-1.16.0-py2.py3-none-any.whl'), undefined);
    assert.equal(problem('numpy-2.1-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl'), undefined);
    assert.equal(problem('cryptography-43-cp39-abi3-manylinux_2_28_aarch64.whl', '3.11', 'arm64'), undefined);
    assert.equal(problem('numpy-2.1-cp313-cp313-manylinux_2_17_x86_64.whl', '3'), undefined);
    assert.equal(problem('tool-1-py37-none-linux_x86_64.whl'), undefined);
  });
  test('that do not', () => {
    assert.equal(problem('numpy-2.1-cp313-cp313-manylinux_2_17_x86_64.whl'), 'is for cp313, not Python 3.11');
    assert.equal(problem('numpy-2.1-cp311-cp311-macosx_11_0_arm64.whl'), 'is for macosx_11_0_arm64');
    assert.equal(problem('numpy-2.1-cp311-cp311-musllinux_1_2_x86_64.whl'), 'is for musllinux_1_2_x86_64');
    assert.equal(problem('numpy-2.1-cp311-cp311-manylinux_2_17_aarch64.whl'), 'is for manylinux_2_17_aarch64');
    assert.equal(problem('old-1-py2-none-any.whl'), 'is for py2, not Python 3.11');
    assert.equal(problem('a-1-cp310-cp310-any.whl', '3.11.2'), 'is for cp310, not Python 3.11');
    assert.equal(problem('a-1-cp310-cp310-any.whl', '3.10.1'), undefined);
    assert.equal(problem('a-1-cp310-cp310-any.whl', '3'), undefined);
    assert.equal(problem('new-1-cp312-abi3-any.whl'), 'is for cp312, not Python 3.11');
  });
  test('no wheel at all', () => assert.equal(parseWheelName('flask.whl'), undefined));
});
