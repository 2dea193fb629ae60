import type { Tree } from '../../domain/tree.ts';
import { readText, regularFile } from '../blobs.ts';
import { baseName, dirName } from '../folder.ts';
import type { SourceKind } from './proposal.ts';

export const rust: SourceKind = {
  missing: 'Linux program built from it',
  find: (tree) => (regularFile(tree, 'Cargo.toml') ? 'Cargo.toml' : undefined),
  async build({ tree, app, hostArch }) {
    const target = `${hostArch === 'arm64' ? 'aarch64' : 'x86_64'}-unknown-linux-musl`;
    const name = await crateName(tree, app);
    return [
      `cargo build --release --target ${target}`,
      `cp target/${target}/release/${name} ${app} && git add -f ${app} && git commit -m "Add the program"`,
    ];
  },
  async dockerfile({ tree, app }) {
    const name = await crateName(tree, app);
    const locked = regularFile(tree, 'Cargo.lock') ? ' --locked' : '';
    return [
      'FROM rust:1-bookworm AS build',
      'WORKDIR /src',
      'COPY . .',
      `RUN cargo build --release${locked} --bin ${name}`,
      '',
      'FROM debian:bookworm-slim',
      'RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*',
      `COPY --from=build /src/target/release/${name} /app`,
      'EXPOSE 8080',
      'CMD ["/app"]',
    ];
  },
};

/** The program's name: that of a [[bin]], else of the [package]; a workspace without a package has the app's. */
async function crateName(tree: Tree, app: string): Promise<string> {
  const text = (await readText(tree, 'Cargo.toml')) ?? '';
  const nameIn = (section: string) => new RegExp(`^\\[${section}\\][^[]*?^name\\s*=\\s*"([^"]+)"`, 'm').exec(text)?.[1];
  return nameIn('\\[bin\\]') ?? nameIn('package') ?? app;
}

export const elixir: SourceKind = {
  missing: 'release built from it',
  find: (tree) => (regularFile(tree, 'mix.exs') ? 'mix.exs' : undefined),
  build: async () => [],
  async dockerfile({ tree, app }) {
    const name = /\bapp:\s*:(\w+)/.exec((await readText(tree, 'mix.exs')) ?? '')?.[1] ?? app;
    const assets = tree.treeId('assets') === undefined ? '' : ' && mix assets.deploy';
    return [
      'FROM elixir:1.18',
      'ENV MIX_ENV=prod PHX_SERVER=true',
      'WORKDIR /src',
      'COPY . .',
      'RUN mix local.hex --force && mix local.rebar --force',
      `RUN mix deps.get --only prod && mix compile${assets} && mix release --path /app`,
      'EXPOSE 8080',
      `CMD ["/app/bin/${name}", "start"]`,
    ];
  },
};

export const dotnet: SourceKind = {
  missing: 'Linux program built from it',
  find: (tree) => projectOf(tree),
  async build({ tree, hostArch }) {
    const project = projectOf(tree)!;
    const runtime = hostArch === 'arm64' ? 'linux-arm64' : 'linux-x64';
    const name = baseName(project).replace(/\.[cf]sproj$/, '');
    return [
      `dotnet publish ${project} -c Release -r ${runtime} --self-contained -p:PublishSingleFile=true -p:InvariantGlobalization=true -o dist`,
      `git add -f dist/${name} && git commit -m "Add the program"`,
    ];
  },
  async dockerfile({ tree }) {
    const project = projectOf(tree)!;
    const text = (await readText(tree, project)) ?? '';
    const version = /<TargetFrameworks?>\s*net(\d+\.\d+)/.exec(text)?.[1] ?? '8.0';
    const name = /<AssemblyName>([^<$]+)</.exec(text)?.[1] ?? baseName(project).replace(/\.[cf]sproj$/, '');
    return [
      `FROM mcr.microsoft.com/dotnet/sdk:${version} AS build`,
      'WORKDIR /src',
      'COPY . .',
      `RUN dotnet publish "${project}" -c Release -o /out`,
      '',
      `FROM mcr.microsoft.com/dotnet/aspnet:${version}`,
      'WORKDIR /app',
      'COPY --from=build /out .',
      'ENV ASPNETCORE_URLS=http://+:8080',
      'EXPOSE 8080',
      `CMD ["dotnet", "${name}.dll"]`,
    ];
  },
};

/** The project file nearest to the root that is not one of tests. */
function projectOf(tree: Tree): string | undefined {
  const projects = tree.entries
    .filter(({ path, mode }) => mode !== '120000' && /\.[cf]sproj$/.test(path) && !/tests?\.[cf]sproj$/i.test(path))
    .map(({ path }) => path);
  const depth = (path: string) => (dirName(path) === '.' ? 0 : path.split('/').length - 1);
  return projects.filter((path) => depth(path) <= 2).sort((a, b) => depth(a) - depth(b))[0];
}
