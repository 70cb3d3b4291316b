// The toolchains that programs come through. Each makes a module of test/toolchain/programs.ts and loads it in a plain
// Node of its own; what counts is the text that the functions have there.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transform as swc } from '@swc/core';
import { transformSync as strip } from 'amaro';
import { transform as esbuild } from 'esbuild';
import { createInstrumenter } from 'istanbul-lib-instrument';

/** Texts of the programs by name. */
export type Texts = Readonly<Record<string, string>>;

const run = promisify(execFile);
const source = join(__dirname, 'programs.ts');
const printer = join(__dirname, 'texts.mjs');
const compiler = join(__dirname, '..', '..', 'node_modules', 'typescript', 'bin', 'tsc');

async function textsOf(module: string, ...flags: string[]): Promise<Texts> {
  const { stdout } = await run(process.execPath, [...flags, printer, module], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout) as Texts;
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'programs-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

type Tool = (code: string) => Promise<string> | string;

/** The texts of a module's programs after a tool that turns code into code. */
function textsThrough(tool: Tool, code: string): Promise<Texts> {
  return inFolder(async (folder) => {
    const module = join(folder, 'programs.mjs');
    await writeFile(module, await tool(code));
    return textsOf(module);
  });
}

function through(tool: Tool): () => Promise<Texts> {
  return async () => textsThrough(tool, await readFile(source, 'utf8'));
}

function typescript(module: 'esnext' | 'commonjs', target: string): () => Promise<Texts> {
  return () =>
    inFolder(async (folder) => {
      const flags = ['--module', module, '--target', target, '--outDir', folder, '--skipLibCheck', '--types', ''];
      await run(process.execPath, [compiler, ...flags, '--moduleResolution', 'bundler', '--ignoreConfig', source]);
      const built = join(folder, module === 'esnext' ? 'programs.mjs' : 'programs.cjs');
      await writeFile(built, await readFile(join(folder, 'programs.js')));
      return textsOf(built);
    });
}

const stripTypes = (code: string): string => strip(code, { mode: 'strip-only' }).code;

async function terser(code: string): Promise<string> {
  const { minify } = await import('terser');
  return (await minify(stripTypes(code), { module: true, toplevel: true, compress: { passes: 3 } })).code!;
}

const instrument = (code: string): string =>
  createInstrumenter({ esModules: true }).instrumentSync(stripTypes(code), 'programs.mjs');

const withSwc = (options: Parameters<typeof swc>[1]) => async (code: string) =>
  (await swc(code, { swcrc: false, isModule: true, ...options })).code;

const parser = { syntax: 'typescript' } as const;

export const tools: Readonly<Record<string, () => Promise<Texts>>> = {
  'amaro, types stripped': through(stripTypes),
  'tsc to ES modules': typescript('esnext', 'es2022'),
  'tsc to CommonJS': typescript('commonjs', 'es2022'),
  'tsc to ES2015': typescript('esnext', 'es2015'),
  tsx: () => textsOf(source, '--import', 'tsx'),
  esbuild: through(async (code) => (await esbuild(code, { loader: 'ts' })).code),
  'esbuild to ES2015, names kept': through(
    async (code) => (await esbuild(code, { loader: 'ts', target: 'es2015', keepNames: true })).code,
  ),
  'esbuild --minify': through(async (code) => (await esbuild(code, { loader: 'ts', minify: true })).code),
  terser: through(terser),
  swc: through(withSwc({ jsc: { parser, target: 'es2022' } })),
  'swc to ES5': through(withSwc({ jsc: { parser, target: 'es5' } })),
  'swc, minified': through(
    withSwc({ minify: true, jsc: { parser, target: 'es2022', minify: { compress: { passes: 2 }, mangle: true } } }),
  ),
  istanbul: through(instrument),
  'istanbul, then esbuild --minify': through(async (code) => (await esbuild(instrument(code), { minify: true })).code),
  'terser after esbuild --minify': through(async (code) =>
    terser((await esbuild(code, { loader: 'ts', minify: true, format: 'esm' })).code),
  ),
};

const minifiers: Readonly<Record<string, Tool>> = {
  esbuild: async (code) => (await esbuild(code, { minify: true })).code,
  terser,
  swc: withSwc({ minify: true, jsc: { target: 'es2022', minify: { compress: { passes: 2 }, mangle: true } } }),
  'terser after esbuild': async (code) => terser((await esbuild(code, { minify: true, format: 'esm' })).code),
  'swc to ES5': withSwc({ jsc: { target: 'es5' } }),
};

/** Functions after each minifier, in their order. */
export async function minified(sources: readonly string[]): Promise<Readonly<Record<string, readonly string[]>>> {
  const code = `export const programs = [${sources.map((text) => `{ program: ${text} }`).join(',\n')}];`;
  const found: Record<string, readonly string[]> = {};
  for (const [name, tool] of Object.entries(minifiers)) found[name] = Object.values(await textsThrough(tool, code));
  return found;
}
