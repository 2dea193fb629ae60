import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planDeploy } from '../../../src/artifact/plan-deploy.ts';
import { DinpError } from '../../../src/domain/errors.ts';
import { type FileSpec, memoryTree } from './memory-tree.ts';

/** The Dockerfile that a refusal proposes, as somebody would paste it. */
async function proposed(files: Record<string, FileSpec>): Promise<string> {
  try {
    await planDeploy(memoryTree(files), {
      app: 'shop',
      hostArch: 'amd64',
      bases: new Map(),
      scope: new AsyncDisposableStack(),
    });
  } catch (error) {
    if (!(error instanceof DinpError)) throw error;
    const lines = error.hint!.split('\n');
    const start = lines.indexOf('Commit this as "Dockerfile" and push again:') + 2;
    const rest = lines.slice(start);
    const end = rest.findIndex((line) => line !== '' && !line.startsWith('  '));
    return (end === -1 ? rest : rest.slice(0, end))
      .map((line) => line.slice(2))
      .join('\n')
      .trim();
  }
  throw new Error('nothing was refused');
}

const CASES: [string, Record<string, FileSpec>, string][] = [
  [
    'Go: the version of go.mod and the package of the program',
    {
      'go.mod': 'module x\n\ngo 1.22.3\n',
      'lib.go': 'package x',
      'cmd/other/main.go': 'package main',
      'cmd/shop/main.go': 'package main',
    },
    `FROM golang:1.22 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /out/app ./cmd/shop

FROM gcr.io/distroless/static-debian12
COPY --from=build /out/app /app
EXPOSE 8080
CMD ["/app"]`,
  ],
  [
    'Maven: a war for Tomcat',
    {
      'pom.xml':
        '<project><packaging>war</packaging><properties><java.version>17</java.version></properties></project>',
    },
    `FROM maven:3-eclipse-temurin-17 AS build
WORKDIR /src
COPY . .
RUN mvn -B -DskipTests package && cp target/*.war /ROOT.war

# tomcat:9 where the application uses javax.servlet instead of jakarta.servlet
FROM tomcat:10-jre17
COPY --from=build /ROOT.war /usr/local/tomcat/webapps/ROOT.war
EXPOSE 8080`,
  ],
  [
    'Gradle with its wrapper',
    {
      'build.gradle.kts':
        'plugins { id("org.springframework.boot") }\njava { toolchain { languageVersion = JavaLanguageVersion.of(25) } }',
      gradlew: '#!/bin/sh',
      'gradle/wrapper/gradle-wrapper.jar': 'PK',
    },
    `FROM eclipse-temurin:25 AS build
WORKDIR /src
COPY . .
RUN sh gradlew --no-daemon assemble && cp "$(ls build/libs/*.jar | grep -v -e -sources -e -javadoc -e -plain -e original- | head -n 1)" /app.jar

FROM eclipse-temurin:25-jre
COPY --from=build /app.jar /app.jar
EXPOSE 8080
CMD ["java", "-jar", "/app.jar"]`,
  ],
  [
    'Node.js: a server with a build step and a lock file',
    {
      'package.json': '{"scripts":{"build":"tsc","start":"node dist/server.js"},"dependencies":{"koa":"3"}}',
      'package-lock.json': '{}',
    },
    `FROM node:24-slim
WORKDIR /app
COPY . .
RUN npm ci
RUN npm run build
ENV NODE_ENV=production
EXPOSE 8080
CMD ["npm", "start"]`,
  ],
  [
    'Node.js: pages for a web server',
    {
      'package.json':
        '{"scripts":{"start":"react-scripts start","build":"react-scripts build"},"dependencies":{"react-scripts":"5"}}',
      'public/index.html': 'x',
      'yarn.lock': '',
    },
    `FROM node:24-slim AS build
WORKDIR /app
COPY . .
RUN yarn install --frozen-lockfile
RUN yarn run build

FROM nginxinc/nginx-unprivileged:stable
COPY --from=build /app/build /usr/share/nginx/html
EXPOSE 8080`,
  ],
  [
    'Python: FastAPI',
    { 'requirements.txt': 'fastapi\nuvicorn[standard]\n', 'main.py': 'from fastapi import FastAPI\napi = FastAPI()\n' },
    `FROM python:3-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -r requirements.txt
ENV PYTHONUNBUFFERED=1
EXPOSE 8080
CMD ["uvicorn", "main:api", "--host", "0.0.0.0", "--port", "8080"]`,
  ],
  [
    'Python: a pyproject and no usual file',
    { 'pyproject.toml': '[project]\nname = "shop"\n', 'shop/__init__.py': '' },
    `FROM python:3-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir .
ENV PYTHONUNBUFFERED=1
EXPOSE 8080
# The command that starts it: change app.py to your file
CMD ["python", "app.py"]`,
  ],
  [
    'Rust',
    { 'Cargo.toml': '[package]\nname = "till"\nversion = "1.0.0"\n', 'Cargo.lock': '' },
    `FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin till

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/till /app
EXPOSE 8080
CMD ["/app"]`,
  ],
  [
    'PHP with composer',
    { 'composer.json': '{"require":{"twig/twig":"^3"}}', 'public/index.php': '<?php' },
    `FROM composer:2 AS vendor
WORKDIR /app
COPY . .
RUN composer install --no-dev --no-interaction --optimize-autoloader --ignore-platform-reqs

FROM php:8-apache
RUN sed -i 's/^Listen 80$/Listen 8080/' /etc/apache2/ports.conf \\
  && sed -i -e 's/:80>/:8080>/' -e 's#/var/www/html#/var/www/html/public#' /etc/apache2/sites-available/000-default.conf \\
  && a2enmod rewrite
COPY --from=vendor --chown=www-data /app /var/www/html
USER www-data
EXPOSE 8080`,
  ],
  [
    'Ruby: Rack',
    { Gemfile: 'gem "sinatra"', 'config.ru': 'run App' },
    `FROM ruby:3
ENV RACK_ENV=production RAILS_ENV=production
WORKDIR /app
COPY . .
RUN bundle install
EXPOSE 8080
CMD ["bundle", "exec", "rackup", "--host", "0.0.0.0", "--port", "8080"]`,
  ],
  [
    'Elixir',
    { 'mix.exs': 'def project do [app: :till, version: "1"] end' },
    `FROM elixir:1.18
ENV MIX_ENV=prod PHX_SERVER=true
WORKDIR /src
COPY . .
RUN mix local.hex --force && mix local.rebar --force
RUN mix deps.get --only prod && mix compile && mix release --path /app
EXPOSE 8080
CMD ["/app/bin/till", "start"]`,
  ],
  [
    'Deno',
    { 'deno.json': '{}', 'server.ts': 'x' },
    `FROM denoland/deno:latest
WORKDIR /app
COPY . .
RUN deno cache server.ts
EXPOSE 8080
CMD ["deno", "run", "--allow-net", "--allow-env", "--allow-read", "server.ts"]`,
  ],
  [
    '.NET: the project nearest to the top, not its tests',
    { 'src/Shop.Tests/Shop.Tests.csproj': '', 'src/Shop/Shop.csproj': '<TargetFramework>net9.0</TargetFramework>' },
    `FROM mcr.microsoft.com/dotnet/sdk:9.0 AS build
WORKDIR /src
COPY . .
RUN dotnet publish "src/Shop/Shop.csproj" -c Release -o /out

FROM mcr.microsoft.com/dotnet/aspnet:9.0
WORKDIR /app
COPY --from=build /out .
ENV ASPNETCORE_URLS=http://+:8080
EXPOSE 8080
CMD ["dotnet", "Shop.dll"]`,
  ],
];

for (const [name, files, expected] of CASES) {
  test(name, async () => assert.equal(await proposed(files), expected));
}

test('where building at home is possible, the lines for it come first', async () => {
  const tree = memoryTree({ 'go.mod': 'module x', 'main.go': 'package main', 'index.html': 'x' });
  await assert.rejects(
    planDeploy(tree, { app: 'shop', hostArch: 'arm64', bases: new Map(), scope: new AsyncDisposableStack() }),
    (error: DinpError) => {
      assert.match(
        error.hint!,
        /^Build it and commit the result:\n\n {2}CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -o shop \.\n/,
      );
      assert.match(error.hint!, /\n\nIf index\.html is all that shall be served, write into dinp\.yml: type: static$/);
      return true;
    },
  );
});
