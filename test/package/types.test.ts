// A consumer's code compiled against the packed tarball: oldest to newest TypeScript, each module system, all strict
// flags, no library newer than es2022 and no @types.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { install, root, tarball, temporaryFolder } from './tarball.js';

const versions = ['5.4', '5.9', '7'];
const modes = [
  { name: 'CommonJS', module: 'node16', moduleResolution: 'node16', extension: 'cts' },
  { name: 'ES modules', module: 'node16', moduleResolution: 'node16', extension: 'mts' },
  { name: 'a bundler', module: 'esnext', moduleResolution: 'bundler', extension: 'ts' },
];
const strict = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noFallthroughCasesInSwitch: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noPropertyAccessFromIndexSignature: true,
  noUncheckedIndexedAccess: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  isolatedModules: true,
  skipLibCheck: false,
};
const folder = temporaryFolder();

test.before(() => {
  install(folder, [tarball(), ...versions.map((version) => `typescript-${version}@npm:typescript@${version}`)]);
});

for (const version of versions) {
  for (const { name, module, moduleResolution, extension } of modes) {
    test(`TypeScript ${version}, ${name}`, (t) => {
      const project = join(folder, `${version}-${extension}`);
      mkdirSync(project);
      copyFileSync(join(root, 'test', 'types', 'consumer.ts'), join(project, `consumer.${extension}`));
      const compilerOptions = { target: 'es2022', lib: ['es2022'], types: [], noEmit: true, module, moduleResolution };
      const config = { compilerOptions: { ...compilerOptions, ...strict }, files: [`consumer.${extension}`] };
      writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
      const compiler = join(folder, 'node_modules', `typescript-${version}`);
      const { bin } = JSON.parse(readFileSync(join(compiler, 'package.json'), 'utf8')) as { bin: { tsc: string } };
      const { status, stdout } = spawnSync(process.execPath, [join(compiler, bin.tsc), '-p', project], {
        encoding: 'utf8',
      });
      t.is(status, 0, stdout);
    });
  }
}
