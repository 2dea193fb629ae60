import { createWriteStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import { debianPackage } from './debian-package.ts';

/**
 * Makes a wheel (PyPA's binary distribution format) of what a Debian package of a Python library holds, for machines
 * that reach no package index.
 * @param distribution its name in requirements, such as `MarkupSafe`
 * @returns name of the file in `folder`
 */
export async function makeWheel(debian: string, distribution: string, folder: string): Promise<string> {
  const packages = join(debianPackage(debian), 'usr/lib/python3/dist-packages');
  const info = readdirSync(packages).find((name) => /\.(?:egg|dist)-info$/.test(name))!;
  const version = /-(\d[^-]*)\.(?:egg|dist)-info$/.exec(info)![1]!;
  const files = readdirSync(packages, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('-info'))
    .map((entry) => relative(packages, join(entry.parentPath, entry.name)));
  const compiled = files.find((file) => file.endsWith('.so'));
  const python = /cpython-(\d+)-(\w+)-linux/.exec(compiled ?? '');
  const tag = python === null ? 'py3-none-any' : `cp${python[1]}-cp${python[1]}-linux_${python[2]}`;
  const name = `${distribution}-${version}-${tag}.whl`;
  const zip = new ZipFile();
  for (const file of files) zip.addFile(join(packages, file), file, { mode: statSync(join(packages, file)).mode });
  const dist = `${distribution}-${version}.dist-info`;
  const about = join(packages, info);
  const metadata = statSync(about).isDirectory()
    ? readFileSync(join(about, info.endsWith('.egg-info') ? 'PKG-INFO' : 'METADATA'))
    : readFileSync(about);
  zip.addBuffer(metadata, `${dist}/METADATA`);
  const wheel = `Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: ${compiled === undefined}\nTag: ${tag}\n`;
  zip.addBuffer(Buffer.from(wheel), `${dist}/WHEEL`);
  zip.addBuffer(Buffer.from(files.map((file) => `${file},,\n`).join('')), `${dist}/RECORD`);
  zip.end();
  await mkdir(folder, { recursive: true });
  await pipeline(zip.outputStream, createWriteStream(join(folder, name)));
  return name;
}
