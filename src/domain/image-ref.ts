/** An image as it is deployed: a repository of a registry, and the digest of its manifest. */
export interface ImageRef {
  /** `127.0.0.1:5000/blog`, without tag. */
  repository: string;
  /** `sha256:` and 64 hex digits. */
  digest: string;
}

/** Whether a repository's registry is on the machine itself; such a one may speak plain HTTP, as Docker has it. */
export function isLoopbackRepository(repository: string): boolean {
  return /^(?:127(?:\.\d+){3}|localhost|\[::1\])(?::\d+)?\//.test(repository);
}

/** `repository@digest`, what engines take. */
export function formatImageRef(ref: ImageRef): string {
  return `${ref.repository}@${ref.digest}`;
}
