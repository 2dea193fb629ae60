import { Document, Scalar, visit } from 'yaml';
import { DinpError } from '../domain/errors.ts';
import type { InstanceSpec } from '../domain/instance.ts';
import type { HealthCheck, Process } from '../domain/process.ts';
import type { Release, ReleaseService } from '../domain/release.ts';
import { commitOf } from '../domain/source.ts';
import { CAPABILITIES, stopSeconds } from './docker-command.ts';
import { kubernetesName } from './kubernetes-name.ts';

/** An object of Kubernetes, in the order of its keys. */
export type KubernetesObject = Record<string, unknown>;

/** A process of a release and what its instances have in common. */
export interface Workload {
  release: Release;
  service: ReleaseService;
  process: Process;
  replicas: number;
  /** Not secret; without what the config overrides. */
  env: Record<string, string>;
}

/** Nobody says how large a volume has to be; an overlay can. */
const VOLUME_SIZE = '1Gi';
const PULL_SECONDS = 600;
const NAME_OF_VARIABLE = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;

/** The workloads of a release: also processes that are scaled to 0, so that what ran of them before ends. */
export function workloadsOf(release: Release, specs: InstanceSpec[]): Workload[] {
  return release.services.flatMap((service) =>
    service.processes.map((process) => {
      const instances = specs.filter((spec) => spec.service === service.service && spec.process === process.name);
      const env = Object.entries(instances[0]?.env ?? service.env);
      return {
        ...{ release, service, process },
        replicas: instances.length,
        env: Object.fromEntries(env.filter(([name]) => !Object.hasOwn(release.config, name))),
      };
    }),
  );
}

/** The Deployment of a process. @throws DinpError refused for a variable whose name Kubernetes does not take */
export function deployment(work: Workload): KubernetesObject {
  const { release, process, replicas } = work;
  const labels = labelsOf(release.app, process.name);
  const startSeconds = Math.ceil(process.health.startMs / 1000);
  const hasVolumes = Object.keys(process.volumes).length > 0;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(release.app, process.name, release.app, process.name),
    spec: {
      replicas,
      // Counted from the start of a rollout: the image has to be pulled first.
      progressDeadlineSeconds: PULL_SECONDS + startSeconds,
      revisionHistoryLimit: 2,
      selector: { matchLabels: labels },
      // A volume may be held by the pods of one node only: those before let go of it first.
      strategy: hasVolumes
        ? { type: 'Recreate' }
        : { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels: { ...labels, ...MANAGED }, annotations: annotations(release) },
        spec: podSpec(work, { ...mainContainer(work), ...probes(process) }),
      },
    },
  };
}

/** The Service of a process that listens: port 80 for web, its own port for others. */
export function service({ release, process }: Workload): KubernetesObject {
  const parts = process.name === 'web' ? [release.app] : [release.app, process.name];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(release.app, process.name, ...parts),
    spec: {
      selector: labelsOf(release.app, process.name),
      ports: [{ name: 'http', port: process.name === 'web' ? 80 : process.port, targetPort: 'http' }],
    },
  };
}

/** The claim of a volume, which stays as it is from release to release. */
export function volumeClaim(app: string, volume: string): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: kubernetesName(app, volume), labels: { 'app.kubernetes.io/name': app, ...MANAGED } },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: VOLUME_SIZE } } },
  };
}

/**
 * The release command of a service, once for each release. Argo CD runs it before the rest; with kubectl it has a label
 * of its own to be applied and waited for first.
 */
export function releaseJob(work: Workload, command: string[]): KubernetesObject {
  const { release, service } = work;
  const name = [
    release.app,
    ...(service.service === release.app ? [] : [service.service]),
    `release-v${release.number}`,
  ];
  const { ports: _, ...container } = mainContainer({ ...work, process: { ...work.process, command } });
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: kubernetesName(...name),
      labels: { 'app.kubernetes.io/name': release.app, ...MANAGED, 'dinp/step': 'release' },
      annotations: {
        'argocd.argoproj.io/hook': 'PreSync',
        'argocd.argoproj.io/hook-delete-policy': 'BeforeHookCreation',
      },
    },
    spec: {
      backoffLimit: 0,
      ttlSecondsAfterFinished: 86_400,
      template: {
        metadata: { labels: { 'app.kubernetes.io/name': release.app, ...MANAGED, 'dinp/step': 'release' } },
        spec: { restartPolicy: 'Never', ...podSpec(work, { ...container, name: 'release' }) },
      },
    },
  };
}

/** The Secret that the pods read their config values from; undefined where there are none. */
export function secret(release: Release): KubernetesObject | undefined {
  const values = Object.entries(release.config);
  if (values.length === 0) return undefined;
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: secretName(release), labels: { 'app.kubernetes.io/name': release.app, ...MANAGED } },
    type: 'Opaque',
    data: Object.fromEntries(values.map(([name, value]) => [name, Buffer.from(value).toString('base64')])),
  };
}

/**
 * YAML that every parser reads the same: Kubernetes takes YAML 1.1, in which a bare `yes` or `1:30` is no string, and more
 * that begins with a digit.
 */
export function toYaml(object: KubernetesObject): string {
  const document = new Document(object, { version: '1.1', aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_, scalar) => {
      if (typeof scalar.value === 'string' && !/^[A-Za-z]/.test(scalar.value)) scalar.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return document.toString({ lineWidth: 0 });
}

const MANAGED = { 'app.kubernetes.io/managed-by': 'dinp' };

function metadata(app: string, process: string, ...name: string[]): KubernetesObject {
  return { name: kubernetesName(...name), labels: { ...labelsOf(app, process), ...MANAGED } };
}

/** What selects the pods of a process, of whatever release. */
function labelsOf(app: string, process: string): Record<string, string> {
  return { 'app.kubernetes.io/name': app, 'app.kubernetes.io/component': process };
}

function annotations(release: Release): Record<string, string> {
  const commit = commitOf(release.source);
  return { 'dinp/release': `v${release.number}`, ...(commit === undefined ? {} : { 'dinp/commit': commit }) };
}

function podSpec({ release, process }: Workload, container: KubernetesObject): KubernetesObject {
  const volumes = Object.keys(process.volumes);
  return {
    // Neither the variables that Kubernetes makes up for every Service nor a key to its API.
    enableServiceLinks: false,
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: stopSeconds(process),
    containers: [container],
    ...(volumes.length > 0 && {
      volumes: volumes.map((volume) => ({
        name: kubernetesName(volume),
        persistentVolumeClaim: { claimName: kubernetesName(release.app, volume) },
      })),
    }),
  };
}

function mainContainer({ release, service, process, env }: Workload): KubernetesObject {
  const variables = Object.entries(env);
  const mounts = Object.entries(process.volumes);
  const memory = String(process.memoryBytes);
  return {
    name: process.name,
    // kustomization.yaml says where it is and which digest it has.
    image: service.service,
    ...(process.command !== undefined && { args: process.command.map(literal) }),
    ...(variables.length > 0 && {
      env: variables.map(([name, value]) => ({ name: variableName(name), value: literal(value) })),
    }),
    ...(Object.keys(release.config).length > 0 && { envFrom: [{ secretRef: { name: secretName(release) } }] }),
    ...(process.port !== undefined && { ports: [{ name: 'http', containerPort: process.port }] }),
    resources: { requests: { memory }, limits: { memory } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: [...CAPABILITIES] },
    },
    ...(mounts.length > 0 && {
      volumeMounts: mounts.map(([volume, path]) => ({ name: kubernetesName(volume), mountPath: quoted(path) })),
    }),
  };
}

/** The health check as Kubernetes asks for it: it decides about the traffic, and at the start about a new try. */
function probes(process: Process): KubernetesObject {
  const { health } = process;
  const action = probeAction(health, process.port);
  if (action === undefined) return {};
  const periodSeconds = Math.max(1, Math.ceil(health.intervalMs / 1000));
  const timeoutSeconds = Math.max(1, Math.ceil(health.timeoutMs / 1000));
  // Looked at more often at first, so that a rollout does not wait for the next look.
  const firstPeriod = Math.min(periodSeconds, 2);
  const firstTries = Math.max(1, Math.ceil(health.startMs / 1000 / firstPeriod));
  return {
    startupProbe: { ...action, periodSeconds: firstPeriod, timeoutSeconds, failureThreshold: firstTries },
    readinessProbe: { ...action, periodSeconds, timeoutSeconds, failureThreshold: Math.max(1, health.retries) },
  };
}

/** Kubernetes neither looks into a page for a text nor reads an image's HEALTHCHECK. */
function probeAction(health: HealthCheck, port: number | undefined): KubernetesObject | undefined {
  switch (health.kind) {
    case 'none':
      return undefined;
    case 'http':
      return { httpGet: { path: quoted(health.path ?? '/'), port: 'http' } };
    case 'command':
      return { exec: { command: ['/bin/sh', '-c', quoted(health.command ?? 'true')] } };
    case 'tcp':
    case 'auto':
      return port === undefined ? undefined : { tcpSocket: { port: 'http' } };
  }
}

function secretName(release: Release): string {
  return kubernetesName(release.app, 'config');
}

function variableName(name: string): string {
  if (NAME_OF_VARIABLE.test(name)) return name;
  throw new DinpError('refused', `Kubernetes takes no variable of the name ${JSON.stringify(name)}.`, {
    hint: 'Use letters, digits, ".", "_" and "-", and no digit first.',
  });
}

/** A text in which Kubernetes expands no `$(NAME)`. */
function literal(text: string): Scalar {
  return quoted(text.replaceAll('$', '$$$$'));
}

/** A text that no parser takes for anything else. */
function quoted(text: string): Scalar {
  const scalar = new Scalar(text);
  scalar.type = Scalar.QUOTE_DOUBLE;
  return scalar;
}
