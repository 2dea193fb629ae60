/** An image as it is deployed: a repository of a registry, and the digest of its manifest. */
export interface ImageRef {
  /** `127.0.0.1:5000/blog`, without tag. */
  repository: string;
  /** `sha256:` and 64 hex digits. */
  digest: string;
}

/** `repository@digest`, what engines take. */
export function formatImageRef(ref: ImageRef): string {
  return `${ref.repository}@${ref.digest}`;
}
