// Keeps a run: its JSON and plots beside the newest other ones, its tables in bench/README.md.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writePlots } from './plot.js';
import type { Run } from './figures.js';
import { toMarkdown } from './report.js';

const README = join(__dirname, 'README.md');
const FIGURES = join(__dirname, 'figures');
const PLOTS = join(__dirname, 'plots');

const runName = ({ isa }: Run): string => isa;

/** JSON with an array of numbers on one line. */
function toJson(run: Run): string {
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  const pretty = JSON.stringify(run, round, 1);
  return `${pretty.replace(/\[\s+([-\d.e+,\s]+?)\s+\]/g, (_all, numbers: string) => `[${numbers.replace(/\s+/g, ' ')}]`)}\n`;
}

/** Writes `<folder>/<date>-<name>.json`; answers its path. */
export function saveJson(run: Run, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${run.date.slice(0, 10)}-${runName(run)}.json`);
  writeFileSync(path, toJson(run));
  return path;
}

/** Replaces what README.md has between the marks of that name, or appends it. */
export function replaceSection(name: string, body: string): void {
  const text = readFileSync(README, 'utf8');
  const open = `<!-- figures: ${name} -->`;
  const close = `<!-- end: ${name} -->`;
  const section = `${open}\n\n${body}\n\n${close}`;
  const start = text.indexOf(open);
  const end = text.indexOf(close);
  if (start >= 0 && end > start) {
    writeFileSync(README, text.slice(0, start) + section + text.slice(end + close.length));
  } else {
    writeFileSync(README, `${text.trimEnd()}\n\n${section}\n`);
  }
}

/** Replaces the published figures of this instruction set. */
export async function publish(run: Run): Promise<void> {
  const name = runName(run);
  for (const folder of [FIGURES, PLOTS]) mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(FIGURES)) {
    if (/^\d{4}-\d\d-\d\d-(.*)\.json$/.exec(file)?.[1] === name) rmSync(join(FIGURES, file));
  }
  for (const file of readdirSync(PLOTS)) if (file.startsWith(`${name}-`)) rmSync(join(PLOTS, file));
  saveJson(run, FIGURES);
  const plots = await writePlots(run, PLOTS, name);
  const images = plots.map((file) => `![${file.replace(/\.svg$/, '')}](plots/${file})`).join('\n\n');
  replaceSection(name, `### ${name}\n\n${toMarkdown(run)}\n\n${images}`);
}
