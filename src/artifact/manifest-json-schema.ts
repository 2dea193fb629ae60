import type { z } from 'zod';
import { editorSchema, type JsonSchema, manifestSchema } from './manifest-schema.ts';

/** What each key is for, in the words that an editor shows beside it. */
const DESCRIPTIONS: Record<keyof typeof manifestSchema.shape, string> = {
  type: 'What the commit is deployed as, instead of looking for it.',
  dir: 'Folder of the commit where the app lives.',
  context: 'Wider build context than dir, for shared folders.',
  watch: 'Paths whose change makes a new image.',
  artifact: 'Path of the artifact in the commit, or an address with its checksum.',
  base: 'Base image of the catalogue (dinp bases list).',
  root: 'Document root of a PHP app or a static site.',
  builder: 'Container with the toolchain that scripts run in, with the sources mounted.',
  scripts: 'Commands that run in the builder; tests must pass before an image is made.',
  output: 'What is packaged after the build.',
  dockerfile: 'Path of the Dockerfile.',
  stage: 'Stage of the Dockerfile; the last unless given.',
  args: 'Build arguments of the Dockerfile; no secrets, they stay readable in the image.',
  image: "Repository within the registry, below the app's name.",
  deploy: 'false makes an image and runs nothing.',
  timeout: 'Longest build and start.',
  processes: 'Name to command, or to a map of command, instances, memory, port, health and stop.',
  instances: 'How many of each process, until somebody scales it.',
  memory: 'Memory of each instance.',
  port: 'Port that web listens on, given as $PORT; auto is what the Dockerfile EXPOSEs, else 8080.',
  health: 'How an instance is checked before it gets traffic.',
  env: 'Environment that is no secret; the config of the server wins.',
  release: 'Command that is run once before traffic moves.',
  stop: 'From SIGTERM to SIGKILL.',
  volumes: 'Name to absolute path in the container; kept across releases.',
  target: "How it runs, when not the server's default.",
  hosts: 'Hosts that it may run on: names, or labels such as zone=a; any of them.',
  fleet: 'Which machines of fleet it may run on: options of [X-Fleet], and spread.',
  domains: 'More host names of the app.',
  keep: 'What clean-up leaves in the registry.',
};

/**
 * dinp.yml as a JSON Schema (draft 7, which editors' YAML servers read), made from what parses it. It is the less strict
 * of the two: what needs the other keys or numbers behind units is left to the parser.
 */
export function manifestJsonSchema(): JsonSchema {
  const properties = Object.entries(manifestSchema.shape as Record<string, z.ZodType>).map(([key, schema]) => [
    key,
    {
      description: DESCRIPTIONS[key as keyof typeof DESCRIPTIONS],
      // A key with nothing behind it is as good as none.
      anyOf: [editorSchema(schema), { type: 'null' }],
    },
  ]);
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'dinp.yml',
    description: 'How dinp packs and runs one service.',
    type: ['object', 'null'],
    properties: Object.fromEntries(properties),
    additionalProperties: false,
    dependencies: { scripts: ['builder'], output: ['builder'], builder: ['scripts'] },
  };
}

/** The schema as the text of a file. */
export function manifestJsonSchemaText(): string {
  return `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`;
}
