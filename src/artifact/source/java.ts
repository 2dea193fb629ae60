import { readText, regularFile } from '../blobs.ts';
import type { SourceKind } from './proposal.ts';

const DEFAULT_JAVA = '21';

export const maven: SourceKind = {
  missing: '.war or runnable .jar',
  find: (tree) => (regularFile(tree, 'pom.xml') ? 'pom.xml' : undefined),
  async build({ tree }) {
    const kind = isWar((await readText(tree, 'pom.xml')) ?? '') ? 'war' : 'jar';
    const command = regularFile(tree, 'mvnw') ? 'sh mvnw' : 'mvn';
    return [`${command} -B package`, commitBuilt('target', kind)];
  },
  async dockerfile({ tree }) {
    const pom = (await readText(tree, 'pom.xml')) ?? '';
    const version = /<(?:java\.version|maven\.compiler\.release|release)>\s*(\d+)\s*</.exec(pom)?.[1] ?? DEFAULT_JAVA;
    const build = [`FROM maven:3-eclipse-temurin-${version} AS build`, 'WORKDIR /src', 'COPY . .'];
    if (isWar(pom)) {
      return [...build, 'RUN mvn -B -DskipTests package && cp target/*.war /ROOT.war', '', ...tomcat(version)];
    }
    return [...build, `RUN mvn -B -DskipTests package && ${takeJar('target')}`, '', ...runtime(version)];
  },
};

export const gradle: SourceKind = {
  missing: '.war or runnable .jar',
  find: (tree) => ['build.gradle', 'build.gradle.kts'].find((path) => regularFile(tree, path)),
  async build({ tree }) {
    const script = (await readText(tree, 'build.gradle')) ?? (await readText(tree, 'build.gradle.kts')) ?? '';
    const command = regularFile(tree, 'gradlew') ? 'sh gradlew' : 'gradle';
    return [`${command} assemble`, commitBuilt('build/libs', isWarScript(script) ? 'war' : 'jar')];
  },
  async dockerfile({ tree }) {
    const script = (await readText(tree, 'build.gradle')) ?? (await readText(tree, 'build.gradle.kts')) ?? '';
    const version = /(?:JavaLanguageVersion\.of\(|jvmToolchain\(|VERSION_)(\d+)/.exec(script)?.[1] ?? DEFAULT_JAVA;
    const wrapped = regularFile(tree, 'gradlew') && regularFile(tree, 'gradle/wrapper/gradle-wrapper.jar');
    const command = wrapped ? 'sh gradlew --no-daemon assemble' : 'gradle --no-daemon assemble';
    const from = wrapped ? `FROM eclipse-temurin:${version} AS build` : `FROM gradle:jdk${version} AS build`;
    if (isWarScript(script))
      return [
        from,
        'WORKDIR /src',
        'COPY . .',
        `RUN ${command} && cp build/libs/*.war /ROOT.war`,
        '',
        ...tomcat(version),
      ];
    return [from, 'WORKDIR /src', 'COPY . .', `RUN ${command} && ${takeJar('build/libs')}`, '', ...runtime(version)];
  },
};

function isWar(pom: string): boolean {
  return /<packaging>\s*war\s*<\/packaging>/.test(pom);
}

function isWarScript(script: string): boolean {
  return /\bwar\b/.test(script) && !/org\.springframework\.boot/.test(script);
}

/** What is built is mostly ignored by git. */
function commitBuilt(folder: string, kind: 'war' | 'jar'): string {
  return `git add -f ${folder}/*.${kind} && git commit -m "Add the built ${kind}"`;
}

/** Build tools leave archives of sources and of classes alone beside the one that runs. */
function takeJar(folder: string): string {
  return `cp "$(ls ${folder}/*.jar | grep -v -e -sources -e -javadoc -e -plain -e original- | head -n 1)" /app.jar`;
}

function runtime(version: string): string[] {
  return [
    `FROM eclipse-temurin:${version}-jre`,
    'COPY --from=build /app.jar /app.jar',
    'EXPOSE 8080',
    'CMD ["java", "-jar", "/app.jar"]',
  ];
}

function tomcat(version: string): string[] {
  return [
    '# tomcat:9 where the application uses javax.servlet instead of jakarta.servlet',
    `FROM tomcat:10-jre${Number(version) > 17 ? '21' : '17'}`,
    'COPY --from=build /ROOT.war /usr/local/tomcat/webapps/ROOT.war',
    'EXPOSE 8080',
  ];
}
