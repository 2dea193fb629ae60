import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InstanceSpec, instanceName } from '../../../../src/domain/instance.ts';
import { DEFAULT_HEALTH } from '../../../../src/domain/process.ts';
import {
  instanceService,
  isMadeOf,
  oneOffService,
  renderServices,
  serviceName,
} from '../../../../src/run/swarm/swarm-service.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'];

function spec(change: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    name: instanceName('blog', 'blog', 'web', 3, 1),
    app: 'blog',
    release: 3,
    service: 'blog',
    process: 'web',
    index: 1,
    image: { repository: '127.0.0.1:5000/blog', digest: DIGEST },
    command: ['./server', '--port', '8080'],
    env: { PORT: '8080', GREETING: 'hello' },
    secrets: { TOKEN: 'line one\nline $two' },
    memoryBytes: 256 * 1024 * 1024,
    port: { container: 8080, host: 22001 },
    volumes: {},
    health: { ...DEFAULT_HEALTH, kind: 'http', path: '/healthz' },
    stopMs: 2_500,
    ...change,
  };
}

const at = { serverId: 'server1', constraints: ['node.labels.zone==a'] };

test('an instance with a port is one replica that its node publishes itself, and stops before it starts again', () => {
  const service = instanceService(spec(), at);
  const update = { Parallelism: 1, Order: 'stop-first', FailureAction: 'pause' };
  assert.deepEqual(service, {
    Name: 'dinp-blog--web--v3--1',
    Labels: {
      'dinp.server': 'server1',
      'dinp.instance': 'dinp-blog--web--v3--1',
      'dinp.app': 'blog',
      'dinp.release': '3',
      'dinp.process': 'web',
      'dinp.service': 'blog',
      'dinp.index': '1',
      'dinp.host-port': '22001',
      'dinp.made-of': service.Labels['dinp.made-of'],
    },
    TaskTemplate: {
      ContainerSpec: {
        Image: `127.0.0.1:5000/blog@${DIGEST}`,
        Labels: {
          'dinp.app': 'blog',
          'dinp.release': '3',
          'dinp.process': 'web',
          'dinp.service': 'blog',
          'dinp.index': '1',
        },
        Env: ['PORT=8080', 'GREETING=hello', 'TOKEN=line one\nline $two'],
        Init: true,
        StopGracePeriod: 3_000_000_000,
        CapabilityDrop: ['ALL'],
        CapabilityAdd: CAPABILITIES.map((name) => `CAP_${name}`),
        Privileges: { NoNewPrivileges: true },
        Mounts: [],
        Args: ['./server', '--port', '8080'],
        HealthCheck: { Test: ['NONE'] },
      },
      Resources: { Limits: { MemoryBytes: 268_435_456, Pids: 2048 } },
      RestartPolicy: { Condition: 'any', Delay: 2_000_000_000, MaxAttempts: 0 },
      Placement: { Constraints: ['node.labels.zone==a'] },
      LogDriver: { Name: 'json-file', Options: { 'max-size': '10m', 'max-file': '3' } },
    },
    Mode: { Replicated: { Replicas: 1 } },
    UpdateConfig: update,
    RollbackConfig: update,
    EndpointSpec: {
      Mode: 'dnsrr',
      Ports: [{ Protocol: 'tcp', TargetPort: 8080, PublishedPort: 22001, PublishMode: 'host' }],
    },
  });
});

test('a process without port and volume starts anew beside itself; its health command is run by the node', () => {
  const health = { ...DEFAULT_HEALTH, kind: 'command' as const, command: 'test -e /tmp/up', retries: 4 };
  const service = instanceService(spec({ process: 'worker', port: undefined, command: undefined, health }), at);
  assert.equal(service.UpdateConfig?.Order, 'start-first');
  assert.deepEqual(service.EndpointSpec, { Mode: 'dnsrr' });
  assert.equal('Args' in service.TaskTemplate.ContainerSpec, false);
  assert.deepEqual(service.TaskTemplate.ContainerSpec.HealthCheck, {
    Test: ['CMD', 'sh', '-c', 'test -e /tmp/up'],
    Interval: 5_000_000_000,
    Timeout: 3_000_000_000,
    Retries: 4,
    StartPeriod: 60_000_000_000,
  });
  assert.equal(service.Labels['dinp.health-command'], 'true');
});

test("the image's own HEALTHCHECK counts where nothing else is asked for", () => {
  const { ContainerSpec } = instanceService(spec({ health: DEFAULT_HEALTH }), at).TaskTemplate;
  assert.equal('HealthCheck' in ContainerSpec, false);
});

test('a volume is mounted with the name of its server, and never by two tasks at once', () => {
  const service = instanceService(spec({ port: undefined, volumes: { 'dinp-blog--data': '/data' } }), at);
  assert.equal(service.UpdateConfig?.Order, 'stop-first');
  assert.deepEqual(service.TaskTemplate.ContainerSpec.Mounts, [
    {
      Type: 'volume',
      Source: 'dinp-blog--data',
      Target: '/data',
      VolumeOptions: {
        NoCopy: false,
        Labels: { 'dinp.server': 'server1' },
        DriverConfig: { Name: 'local', Options: {} },
      },
    },
  ]);
});

test('a one-off command takes no port, is not restarted and is told apart', () => {
  const options = { serverId: 'server1', name: 'dinp-blog--web--v3--1--run-0a1b', constraints: [] };
  const service = oneOffService(spec(), ['rake', 'db:migrate'], options);
  assert.equal(service.Name, 'dinp-blog--web--v3--1--run-0a1b');
  assert.equal(service.Labels['dinp.one-off'], 'true');
  assert.deepEqual(service.EndpointSpec, { Mode: 'dnsrr' });
  const { ContainerSpec, RestartPolicy } = service.TaskTemplate as typeof service.TaskTemplate & {
    RestartPolicy: object;
  };
  assert.deepEqual(RestartPolicy, { Condition: 'none' });
  assert.deepEqual(ContainerSpec.Args, ['rake', 'db:migrate']);
  assert.deepEqual(ContainerSpec.HealthCheck, { Test: ['NONE'] });
});

test('a service is known by what it is made of, wherever it may run', () => {
  const found = { Spec: instanceService(spec(), at) } as never;
  assert.equal(isMadeOf(found, instanceService(spec(), { ...at, constraints: ['node.id!=abc'] })), true);
  for (const change of [
    { secrets: { TOKEN: 'other' } },
    { port: { container: 8080, host: 22002 } },
    { image: { repository: '127.0.0.1:5000/blog', digest: `sha256:${'cd'.repeat(32)}` } },
    { memoryBytes: 1024 },
  ]) {
    assert.equal(isMadeOf(found, instanceService(spec(change), at)), false, JSON.stringify(change));
  }
});

test('names that Swarm does not take are shortened and stay different', () => {
  const long = (index: number) => instanceName('a'.repeat(30), 'b'.repeat(20), 'worker', 120, index);
  assert.equal(serviceName('dinp-blog--web--v3--1'), 'dinp-blog--web--v3--1');
  assert.ok(serviceName(long(1)).length <= 63);
  assert.match(serviceName(long(1)), /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/);
  assert.notEqual(serviceName(long(1)), serviceName(long(2)));
  assert.equal(instanceService(spec({ name: long(1) }), at).Labels['dinp.instance'], long(1));
});

test('the files of a release tell where it may run, and no config value', () => {
  const [file, ...more] = renderServices([spec({ hosts: ['n2'] })], 'server1', { values: false });
  assert.deepEqual(more, []);
  assert.equal(file!.name, 'dinp-blog--web--v3--1.service.json');
  assert.equal(file!.text.includes('line one'), false);
  const service = JSON.parse(file!.text) as ReturnType<typeof instanceService>;
  assert.deepEqual(service.TaskTemplate.ContainerSpec.Env, [
    'PORT=8080',
    'GREETING=hello',
    "TOKEN=(from the app's config)",
  ]);
  assert.deepEqual(service.TaskTemplate.Placement, { Constraints: ['node.hostname==n2'] });
  assert.equal('dinp.made-of' in service.Labels, false);
  const [whole] = renderServices([spec()], 'server1', { values: true });
  assert.match(whole!.text, /"TOKEN=line one\\nline \$two"/);
});
