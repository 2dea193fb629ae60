/** A machine that runs instances and is reached over SSH. */
export interface RunHost {
  id: number;
  name: string;
  ssh: { user: string; host: string; port: number };
  /** The key that its SSH server must show: type and `SHA256:…`. */
  hostKey: { type: string; fingerprint: string };
  /** Its own IPv4 address that instances are bound to and the router reaches. */
  address: string;
  labels: Record<string, string>;
  /** Absolute path of the docker CLI there. */
  docker: string;
  /** Port of its loopback address that leads to our registry. */
  registryPort: number;
  /** true: it gets no new instances, and those that it has move away. */
  drained: boolean;
  createdAt: number;
}

/** Whether a host is there to build: by its label `role=build`. Such a host gets no instances but of apps that name it. */
export function mayBuild({ labels }: Pick<RunHost, 'labels'>): boolean {
  return labels.role === 'build';
}

/** What is wrong with a name for a host; undefined where it is fine. */
export function hostNameProblem(name: string): string | undefined {
  if (name.length > 63) return 'it is longer than 63 characters';
  if (/^[a-z0-9]+(?:[.-][a-z0-9]+)*$/.test(name)) return undefined;
  return 'use lower-case letters, digits, "." and "-"';
}

/** `zone=a` as key and value; undefined for anything else. */
export function parseLabel(text: string): [key: string, value: string] | undefined {
  const [, key, value] = /^([a-z0-9](?:[a-z0-9._-]{0,62}))=([A-Za-z0-9._-]{1,63})$/.exec(text) ?? [];
  return key === undefined ? undefined : [key, value!];
}
