import type { Command } from 'commander';
import type { Bind } from './bind.ts';
import type { Call } from './context.ts';
import { usableApps } from './lookup.ts';
import { printJson, printRows } from './print.ts';
import { renderFields } from './table.ts';

export function defineWhoami(program: Command, bind: Bind): void {
  program
    .command('whoami')
    .description('who you are to the server, and what you may do')
    .option('--json', 'print JSON: name, role, fingerprint, apps')
    .action(bind(whoami));
  program
    .command('status')
    .description('whether the server and what it needs answer (admins)')
    .option('--json', 'print JSON: name, ok, detail')
    .action(bind(status, { admin: true }));
}

async function whoami(call: Call, options: { json?: boolean }): Promise<void> {
  const { name, role, fingerprint } = call.identity;
  const apps = usableApps(call).map((app) => app.name);
  if (options.json) return printJson(call, { name, role, fingerprint: fingerprint ?? null, apps });
  await call.out.stdout(
    renderFields({
      Name: name,
      Role: role === 'admin' ? 'admin: everything' : 'deployer: pushes to, reads and operates the apps below',
      Key: fingerprint,
      Apps: apps.length === 0 ? 'none yet' : apps.join(', '),
    }),
  );
}

async function status(call: Call, options: { json?: boolean }): Promise<number> {
  const { server } = call;
  const own = {
    name: 'server',
    ok: true,
    detail: `dinp ${server.version}, ssh port ${server.sshPort}, data in ${server.data}`,
  };
  const rows = [own, ...(await call.checkServices())];
  await printRows(call, rows, {
    json: options.json,
    view: ({ name, ok, detail }) => ({ name, ok, detail }),
    columns: [
      { title: 'PART', value: (row) => row.name },
      { title: 'STATE', value: (row) => (row.ok ? 'ok' : 'FAILS') },
      { title: 'DETAIL', value: (row) => row.detail, shrink: true },
    ],
    empty: '',
  });
  return rows.every((row) => row.ok) ? 0 : 1;
}
