import { DinpError } from '../../domain/errors.ts';
import { printable } from '../../domain/names.ts';
import { parseImageName } from '../../image/image-name.ts';

/** What somebody names to be deployed. */
export type ArtifactName =
  /** What comes on standard input. */
  | { kind: 'input' }
  /** A file where the command was typed. */
  | { kind: 'file'; path: string }
  | { kind: 'url'; url: string }
  | { kind: 'image'; reference: string };

/** Endings that files have and images do not. */
const FILE_ENDING = /\.(?:war|jar|ear|zip|tar|tgz|gz|zst|bz2|xz|py|pyz|exe|bin|run)$/i;

/**
 * Tells by the text alone what is meant, for the side that reads files and the side that deploys must agree on it.
 * @param text undefined or `-` for standard input
 * @throws DinpError usage for what could be a file as well as an image
 */
export function readArtifactName(text: string | undefined, isImage: boolean): ArtifactName {
  if (text === undefined || text === '-' || text === '') {
    if (!isImage) return { kind: 'input' };
    throw new DinpError('usage', '--image says that an image is named, and none is.', {
      hint: 'Name it:  dinp deploy APP --image registry.example.com/shop:7',
    });
  }
  if (isImage) {
    parseImageName(text);
    return { kind: 'image', reference: text };
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'http' || scheme === 'https') return { kind: 'url', url: text };
  if (scheme !== undefined) {
    throw new DinpError('usage', `artifacts are fetched by http and https only, not ${scheme}.`, {
      hint: 'Fetch it yourself and send the file:  dinp deploy APP FILE',
    });
  }
  if (/^[./~\\]/.test(text)) return { kind: 'file', path: text };
  return isImageReference(text) ? { kind: 'image', reference: text } : { kind: 'file', path: text };
}

function isImageReference(text: string): boolean {
  const named = text.replace(/@.*$/s, '');
  const [first = '', ...rest] = named.split('/');
  const tagged = /:[^/]*$/.test(named) || text.includes('@sha256:');
  const registry = rest.length > 0 && (first.includes(':') || first === 'localhost');
  if (!isParsed(text)) return false;
  if (tagged || registry) return true;
  if (rest.length === 0 || !first.includes('.') || FILE_ENDING.test(text)) return false;
  const shown = printable(text);
  throw new DinpError('usage', `"${shown}" may be a file or an image.`, {
    hint: `For the file:   dinp deploy APP ./${shown}\nFor the image:  dinp deploy APP --image ${shown}`,
  });
}

function isParsed(text: string): boolean {
  try {
    parseImageName(text);
    return true;
  } catch {
    return false;
  }
}
