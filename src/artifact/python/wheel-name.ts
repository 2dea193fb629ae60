import { canonicalName } from './requirements.ts';

/** What a wheel's file name says (PEP 427). */
export interface WheelName {
  name: string;
  version: string;
  pythons: string[];
  abis: string[];
  platforms: string[];
}

export function parseWheelName(file: string): WheelName | undefined {
  const match = /^([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl$/.exec(file);
  if (match === null) return undefined;
  const [, name = '', version = '', pythons = '', abis = '', platforms = ''] = match;
  return {
    name: canonicalName(name),
    version: version.replaceAll('_', '-'),
    pythons: pythons.split('.'),
    abis: abis.split('.'),
    platforms: platforms.split('.'),
  };
}

/**
 * Why a wheel cannot be used on these hosts, for people; undefined where it can.
 * @param version of the base's Python, `3.11` or `3.11.2`; undefined where nobody knows it, so that any may be it
 */
export function wheelProblem(wheel: WheelName, version: string | undefined, hostArch: string): string | undefined {
  const machine = hostArch === 'arm64' ? 'aarch64' : 'x86_64';
  const platform = new RegExp(`^(?:any|linux_${machine}|manylinux.*_${machine})$`);
  if (!wheel.platforms.some((tag) => platform.test(tag))) return `is for ${wheel.platforms.join(', ')}`;
  const minor = /^3\.(\d+)/.exec(version ?? '')?.[1];
  const stable = wheel.abis.includes('abi3');
  const fits = wheel.pythons.some((tag) => {
    const [, kind, digits] = /^(py|cp)3(\d*)$/.exec(tag) ?? [];
    if (kind === undefined) return false;
    if (digits === '' || minor === undefined) return true;
    // pyXY and the stable ABI say from which version on, cpXY with its own ABI for which one.
    return kind === 'py' || stable || wheel.abis.includes('none')
      ? Number(digits) <= Number(minor)
      : Number(digits) === Number(minor);
  });
  return fits ? undefined : `is for ${wheel.pythons.join(', ')}${minor === undefined ? '' : `, not Python 3.${minor}`}`;
}
