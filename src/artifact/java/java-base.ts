import { DinpError } from '../../domain/errors.ts';
import type { BaseFacts } from '../../domain/plan.ts';
import { type Candidate, chooseBase } from '../detector.ts';
import type { ServletApi } from './class-file.ts';

/** What a Java application asks of its base. */
export interface JavaNeeds {
  kind: 'war' | 'jar';
  /** Path of the application, for people. */
  path: string;
  api?: ServletApi | undefined;
  /** Release of Java; undefined where nothing tells. */
  java: number | undefined;
}

export interface JavaBase {
  name: string;
  facts: BaseFacts;
}

/**
 * The base that dinp.yml names, else the one with the oldest Java that will do; the newest where nothing tells what is needed.
 * @throws DinpError refused where no usable base has what is needed
 */
export function chooseJavaBase(candidate: Candidate, needs: JavaNeeds): JavaBase {
  if (candidate.manifest.base !== undefined) return askedBase(candidate, needs);
  const ofKind = [...candidate.bases]
    .map(([name, facts]): JavaBase => ({ name, facts }))
    .filter(({ facts }) => facts.for.includes(needs.kind))
    .filter(({ facts }) => needs.api === undefined || facts.when === undefined || facts.when === needs.api)
    .filter(({ facts }) => facts.shell || !candidate.control);
  const fitting = ofKind.filter(({ facts }) => isNewEnough(facts, needs.java));
  const newestFirst = needs.java === undefined;
  const [best] = fitting
    .filter(({ facts }) => facts.usable)
    .sort((a, b) => order(a, newestFirst) - order(b, newestFirst) || apiOrder(a) - apiOrder(b));
  if (best !== undefined) return best;
  throw noBase(candidate, needs, ofKind, fitting);
}

function askedBase(candidate: Candidate, needs: JavaNeeds): JavaBase {
  const asked = chooseBase(candidate, '');
  if (isNewEnough(asked.facts, needs.java)) return asked;
  const has = javaOf(asked.facts);
  throw new DinpError(
    'refused',
    `${needs.path} needs Java ${needs.java}, and the base "${asked.name}" that dinp.yml asks for has Java ${has}.`,
    {
      hint: `Compile it for Java ${has} (javac --release ${has}), or take base: out of dinp.yml.`,
    },
  );
}

/** Java of a base, as far as it is known. */
function javaOf({ version }: BaseFacts): number | undefined {
  const major = Number.parseInt(version ?? '', 10);
  return Number.isNaN(major) ? undefined : major;
}

function isNewEnough(facts: BaseFacts, java: number | undefined): boolean {
  const has = javaOf(facts);
  return has === undefined || java === undefined || has >= java;
}

/** A base whose Java nobody wrote down is taken last. */
function order({ facts }: JavaBase, newestFirst: boolean): number {
  const java = javaOf(facts);
  if (java === undefined) return 1000;
  return newestFirst ? -java : java;
}

function apiOrder({ facts }: JavaBase): number {
  return facts.when === 'jakarta' ? 0 : 1;
}

function noBase({ control }: Candidate, needs: JavaNeeds, ofKind: JavaBase[], fitting: JavaBase[]): DinpError {
  const server = needs.api === undefined ? 'Tomcat' : `a Tomcat for ${needs.api}.servlet`;
  const wanted = [needs.kind === 'war' ? server : undefined, needs.java === undefined ? 'Java' : `Java ${needs.java}`]
    .filter(Boolean)
    .join(' and ');
  const usable = ofKind.filter(({ facts }) => facts.usable);
  const have = usable.map(({ name, facts }) => {
    const java = javaOf(facts);
    return java === undefined ? name : `${name} with Java ${java}`;
  });
  const missing = fitting.map(({ name }) => name);
  const ways = [
    missing.length === 0
      ? 'Ask the operator for a base that has it ("dinp bases list" shows what there is)'
      : `Ask the operator to bring ${missing.join(' or ')} here: dinp bases sync ${missing[0]}`,
    ...(usable.length > 0 && needs.java !== undefined
      ? [
          `or compile it for an older Java: javac --release ${Math.max(...usable.map(({ facts }) => javaOf(facts) ?? 0))}`,
        ]
      : []),
    'or push a Dockerfile.',
  ];
  return new DinpError(
    'refused',
    `${needs.path} needs ${wanted}${control ? ' on a base with a shell for control' : ''}; this server's bases ${have.length === 0 ? 'have none that can be used' : `are ${have.join(', ')}`}.`,
    { hint: ways.join(',\n') },
  );
}
