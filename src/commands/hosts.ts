import type { Command } from 'commander';
import { DinpError } from '../domain/errors.ts';
import { printable } from '../domain/names.ts';
import { parseLabel, type RunHost } from '../domain/run-host.ts';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { printJson, printRows } from './print.ts';
import { withProgress } from './progress.ts';
import { renderFields } from './table.ts';
import { ago, iso } from './text.ts';

interface AddOptions {
  label?: string[];
  address?: string;
  fingerprint?: string;
}

const JSON_FIELDS = 'name, ssh, address, hostKey, labels, drained, createdAt';

export function defineHosts(program: Command, bind: Bind): void {
  const hosts = program.command('hosts').description('machines that run instances, reached over SSH (admins)');
  hosts
    .command('list')
    .description('all hosts')
    .option('--json', `print JSON: ${JSON_FIELDS}`)
    .action(bind(list, { admin: true }));
  hosts
    .command('show')
    .argument('<host>')
    .description('one host, and the host key that is pinned')
    .option('--json', `print JSON: ${JSON_FIELDS}`)
    .action(bind(show, { admin: true }));
  hosts
    .command('key')
    .description('print the public key by which this server logs in to hosts')
    .action(bind(key, { admin: true }));
  hosts
    .command('add')
    .argument('<name>')
    .argument('<url>', 'ssh://root@HOST[:PORT]')
    .description('take up a machine that systemd runs and that has Docker')
    .option(
      '--label <label>',
      'KEY=VALUE, for "hosts:" in dinp.yml; role=build: it builds; may be repeated',
      (label, all: string[] = []) => [...all, label],
    )
    .option('--address <ip>', 'its own IPv4 address that instances are bound to and the router reaches')
    .option('--fingerprint <fingerprint>', 'the host key that it must show, SHA256:…')
    .addHelpText(
      'after',
      "\nFirst put this server's key (dinp hosts key) into /root/.ssh/authorized_keys there." +
        '\nWithout --fingerprint the key that the host shows is printed and trusted from then on.',
    )
    .action(bind(add, { admin: true }));
  hosts
    .command('pin')
    .argument('<host>')
    .requiredOption('--fingerprint <fingerprint>', 'the host key that it must show from now on, SHA256:…')
    .description('trust the new host key of a machine that was installed anew')
    .action(bind(pin, { admin: true }));
  hosts
    .command('check')
    .argument('[host]', 'all where none is given')
    .description('look at login, systemd, docker, disk, memory, clock, address, and pull an image')
    .option('--json', 'print JSON: host, name, ok, detail')
    .action(bind(check, { admin: true }));
  hosts
    .command('drain')
    .argument('<host>')
    .description('move what a host runs to others, and give it nothing new')
    .action(bind(drain, { admin: true }));
  hosts
    .command('undrain')
    .argument('<host>')
    .description('let a drained host have instances again')
    .action(bind(undrain, { admin: true }));
  hosts
    .command('remove')
    .argument('<host>')
    .option('--force', 'also where it is gone for good with what it runs')
    .description('forget a host')
    .action(bind(remove, { admin: true }));
}

async function list(call: Call, options: { json?: boolean }): Promise<void> {
  await printRows(call, call.hosts.list(), {
    json: options.json,
    view,
    columns: [
      { title: 'NAME', value: (host) => host.name },
      { title: 'SSH', value: sshUrl, shrink: true },
      { title: 'ADDRESS', value: (host) => host.address },
      { title: 'LABELS', value: labelsOf, shrink: true },
      { title: 'STATE', value: (host) => (host.drained ? 'drained' : 'in use') },
      { title: 'ADDED', value: (host) => ago(host.createdAt) },
    ],
    empty: `There are no hosts. To add one:\n  ${call.program} hosts add NAME ssh://root@ADDRESS`,
  });
}

async function show(call: Call, name: string, options: { json?: boolean }): Promise<void> {
  const host = call.hosts.get(name);
  if (options.json) return printJson(call, view(host));
  await call.out.stdout(
    renderFields({
      Name: host.name,
      SSH: sshUrl(host),
      Address: host.address,
      'Host key': `${host.hostKey.fingerprint} (${host.hostKey.type})`,
      Labels: labelsOf(host),
      State: host.drained ? 'drained' : 'in use',
      Added: ago(host.createdAt),
    }),
  );
}

async function key(call: Call): Promise<void> {
  await call.out.stdout(`${call.hosts.publicKey()}\n`);
}

async function add(call: Call, name: string, url: string, options: AddOptions): Promise<void> {
  const request = {
    name,
    ssh: parseUrl(url),
    labels: Object.fromEntries((options.label ?? []).map(labelOf)),
    address: options.address,
    fingerprint: options.fingerprint,
  };
  const host = await withProgress(call, (progress) => call.hosts.add(request, progress));
  await call.out.stdout(
    `Added ${host.name}: instances run on ${host.address}. To look at all that it needs:\n  ${call.program} hosts check ${host.name}\n`,
  );
}

async function pin(call: Call, name: string, options: { fingerprint: string }): Promise<void> {
  const host = call.hosts.get(name);
  await withProgress(call, (progress) => call.hosts.pin(host, options.fingerprint, progress));
  await call.out.stdout(`${host.name} must show ${options.fingerprint} from now on.\n`);
}

async function check(call: Call, name: string | undefined, options: { json?: boolean }): Promise<number> {
  const hosts = name === undefined ? call.hosts.list() : [call.hosts.get(name)];
  const checked = await Promise.all(
    hosts.map(async (host) =>
      (await call.hosts.check(host, call.out.signal)).map((finding) => ({ host: host.name, ...finding })),
    ),
  );
  const findings = checked.flat();
  await printRows(call, findings, {
    json: options.json,
    view: (finding) => finding,
    columns: [
      { title: 'HOST', value: (finding) => finding.host },
      { title: 'WHAT', value: (finding) => finding.name },
      { title: 'OK', value: (finding) => (finding.ok ? 'yes' : 'NO') },
      { title: 'FOUND', value: (finding) => finding.detail.split('\n')[0]!, shrink: true },
    ],
    empty: 'There are no hosts.',
  });
  return findings.every((finding) => finding.ok) ? 0 : 1;
}

async function drain(call: Call, name: string): Promise<number> {
  const host = call.hosts.get(name);
  const left = await withProgress(call, (progress) => call.drainHost(host, progress, call.out.signal));
  if (left.length === 0) {
    await call.out.stdout(
      `${host.name} runs nothing any more. To use it again:\n  ${call.program} hosts undrain ${host.name}\n`,
    );
    return 0;
  }
  const names = left.map(({ instance }) => `  ${instance}\n`).join('');
  await call.out.stderr(
    `${host.name} gets nothing new, but these had to stay (a volume of theirs is there, or no other host could have them):\n${names}`,
  );
  return 1;
}

async function undrain(call: Call, name: string): Promise<void> {
  const host = call.hosts.get(name);
  call.hosts.undrain(host);
  await call.out.stdout(`${host.name} gets instances again, from the next release or scale on.\n`);
}

async function remove(call: Call, name: string, options: { force?: boolean }): Promise<void> {
  const host = call.hosts.get(name);
  call.hosts.remove(host, { force: options.force === true });
  await call.out.stdout(`Removed ${host.name}.\n`);
}

/** @throws DinpError usage */
function parseUrl(text: string): RunHost['ssh'] {
  const pattern = /^ssh:\/\/(?:([a-z_][a-z0-9_-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?\/?$/;
  const [, user = 'root', host, port = '22'] = pattern.exec(text) ?? [];
  if (host !== undefined && Number(port) > 0 && Number(port) <= 65535) return { user, host, port: Number(port) };
  throw new DinpError('usage', `"${printable(text)}" is no address of a host.`, {
    hint: 'Type it like ssh://root@10.0.0.7 or ssh://root@web1.example.org:2222',
  });
}

/** @throws DinpError usage */
function labelOf(text: string): [string, string] {
  const label = parseLabel(text);
  if (label !== undefined) return label;
  throw new DinpError('usage', `"${printable(text)}" is no label.`, { hint: 'Type it like --label zone=a' });
}

function sshUrl({ ssh }: RunHost): string {
  return `ssh://${ssh.user}@${ssh.host}${ssh.port === 22 ? '' : `:${ssh.port}`}`;
}

function labelsOf({ labels }: RunHost): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return all.length === 0 ? '-' : all.join(' ');
}

function view(host: RunHost): object {
  return {
    name: host.name,
    ssh: sshUrl(host),
    address: host.address,
    hostKey: host.hostKey.fingerprint,
    labels: host.labels,
    drained: host.drained,
    createdAt: iso(host.createdAt),
  };
}
