import { DinpError } from '../../domain/errors.ts';
import type { TreeEntry } from '../../domain/tree.ts';
import { isLfsPointer, readHeads } from '../blobs.ts';
import { ARTIFACT_FOLDERS, type Candidate, type Detector } from '../detector.ts';
import { baseName, filesIn } from '../folder.ts';
import { dockerfileHint } from '../source/proposal.ts';

/** A web application archive. This version proposes a Dockerfile for it. */
export const war: Detector = {
  kind: 'war',
  async detect(candidate) {
    const path = await findArchive(candidate, (name) => name.endsWith('.war'));
    if (path === undefined) return undefined;
    throw new DinpError('refused', `${path} found: this version of dinp cannot lay a war over Tomcat by itself yet.`, {
      hint: dockerfileHint([
        '# tomcat:9-jre21 where the application uses javax.servlet instead of jakarta.servlet',
        'FROM tomcat:10-jre21',
        `COPY ["${path}", "/usr/local/tomcat/webapps/ROOT.war"]`,
        'EXPOSE 8080',
      ]),
    });
  },
};

/** A runnable Java archive. This version proposes a Dockerfile for it. */
export const jar: Detector = {
  kind: 'jar',
  async detect(candidate) {
    const path = await findArchive(
      candidate,
      (name) => name.endsWith('.jar') && !/-(?:sources|javadoc|plain|tests)\.jar$/.test(name),
    );
    if (path === undefined) return undefined;
    throw new DinpError(
      'refused',
      `${path} found: this version of dinp cannot lay a jar over a Java runtime by itself yet.`,
      {
        hint: dockerfileHint([
          'FROM eclipse-temurin:21-jre',
          `COPY ["${path}", "/app/app.jar"]`,
          'WORKDIR /app',
          'EXPOSE 8080',
          'CMD ["java", "-jar", "/app/app.jar"]',
        ]),
      },
    );
  },
};

/** The archive that is meant: dinp.yml's, else the app's name, else the only one of the first folder that has any. */
async function findArchive(
  { tree, manifest, app }: Candidate,
  fits: (name: string) => boolean,
): Promise<string | undefined> {
  if (manifest.artifact !== undefined)
    return fits(baseName(manifest.artifact)) && tree.find(manifest.artifact) ? manifest.artifact : undefined;
  const files = filesIn(tree, ARTIFACT_FOLDERS);
  for (const folder of ARTIFACT_FOLDERS) {
    const found = files.get(folder)!.filter(({ path }) => fits(baseName(path)));
    const [first] = found;
    if (first === undefined) continue;
    const named = found.filter(({ path }) => new RegExp(`^${app}(?:[-_.].*)?\\.[jw]ar$`).test(baseName(path)));
    const chosen = found.length === 1 ? first : named.length === 1 ? named[0]! : undefined;
    if (chosen === undefined) throw several(found);
    for await (const { head } of readHeads(tree, [chosen])) if (isLfsPointer(head)) throw pointer(chosen);
    return chosen.path;
  }
  return undefined;
}

function several(found: TreeEntry[]): DinpError {
  const paths = found.map(({ path }) => path);
  return new DinpError('refused', `Several archives were found: ${paths.slice(0, 10).join(', ')}.`, {
    hint: `Say in dinp.yml which one is meant:\n  artifact: ${paths[0]}`,
  });
}

function pointer({ path }: TreeEntry): DinpError {
  return new DinpError('refused', `${path} is a git-lfs pointer: the archive itself is not in the commit.`, {
    hint: `Take it out of git-lfs and commit the file itself:\n  git lfs untrack ${path} && git rm --cached ${path} && git add ${path}`,
  });
}
