import { formatImageRef, type ImageRef, isLoopbackRepository } from '../../domain/image-ref.ts';
import type { FindLogin } from '../docker/docker-image.ts';

/** A file to be put on a host. */
export interface HostFile {
  path: string;
  text: string;
}

/** The container engine that units of systemd call, and where the files of such units are. */
export interface UnitEngine {
  /** Name of the target that runs units this way. */
  readonly target: string;
  /** For people: `Docker`. */
  readonly title: string;
  /** Absolute path of its CLI on the host. */
  readonly cli: string;
  readonly installHint: string;
  readonly unitFolder: string;
  readonly unitEnding: '.service' | '.container';
  /** true: units are linked to be started at boot; false: a generator of systemd sees to it. */
  readonly enables: boolean;
  /** Whether what its CLI said means that a daemon does not answer. */
  isDown(stderr: string): boolean;
  /** Arguments that pull an image, and the files with a login that they name, which only root may read. */
  pull(image: ImageRef): Promise<{ args: string[]; files: HostFile[] }>;
  /** Arguments that make a labelled volume where there is none; undefined where the unit itself does so. */
  createVolume?(volume: string, label: string): string[];
}

/** @param cli absolute path of the docker CLI on the host */
export function dockerEngine(cli: string): UnitEngine {
  return {
    target: 'systemd',
    title: 'Docker Engine',
    cli,
    installHint: 'Install Docker there, or set the path of its CLI in the config.',
    unitFolder: '/etc/systemd/system',
    unitEnding: '.service',
    enables: true,
    isDown: (stderr) =>
      /Cannot connect to the Docker daemon|permission denied while trying to connect|dial unix/.test(stderr),
    pull: async (image) => ({ args: ['pull', formatImageRef(image)], files: [] }),
  };
}

/**
 * Podman, whose generator makes services of `.container` files. It has no daemon.
 * @param options.folder of files that only root reads, for the login to a registry while an image is pulled
 */
export function podmanEngine(options: { cli: string; folder: string; findLogin: FindLogin }): UnitEngine {
  const { cli, folder, findLogin } = options;
  return {
    target: 'quadlet',
    title: 'Podman',
    cli,
    installHint: 'On Debian 13: apt-get install podman',
    unitFolder: '/etc/containers/systemd',
    unitEnding: '.container',
    enables: false,
    isDown: () => false,
    pull: async (image) => {
      const registry = image.repository.split('/')[0]!;
      const login = await findLogin(image.repository);
      const file = login && {
        path: `${folder}/podman-login-${image.digest.slice(7, 19)}.json`,
        text: authFile(registry, login),
      };
      return {
        args: [
          'pull',
          ...(isLoopbackRepository(image.repository) ? ['--tls-verify=false'] : []),
          ...(file === undefined ? [] : [`--authfile=${file.path}`]),
          formatImageRef(image),
        ],
        files: file === undefined ? [] : [file],
      };
    },
    createVolume: (volume, label) => ['volume', 'create', '--ignore', `--label=${label}`, '--', volume],
  };
}

/** A registry's login as containers-auth.json(5) has it. */
function authFile(registry: string, { username, password }: { username: string; password: string }): string {
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  return `${JSON.stringify({ auths: { [registry]: { auth } } })}\n`;
}
