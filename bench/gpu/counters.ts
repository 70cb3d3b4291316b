// The table of what the CUDA kernels do, and a roofline of it: counted by the interpreter, not timed.
//   npm run gpu              from counts.json
//   npm run gpu -- --write   counts anew; writes counts.json, the plot and the section of bench/README.md

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };
import { THEME, toSvg } from '../plot.js';
import { replaceSection } from '../publish.js';
import { alignedTable } from '../report.js';
import { chips } from './chips.js';
import type { Counted, Counts } from './counts.js';
import { countAll, label, LENGTH, SHORT } from './counts.js';
import { rooflineOf, type Unit } from './roofline.js';

const COUNTS = join(__dirname, 'counts.json');
const PLOT = 'gpu-instructions.svg';

/** Classes of instructions that are shown by themselves. */
const SHOWN = ['mma', 'float32', 'special', 'matrix', 'convert', 'integer', 'compare', 'move'];

function perMma({ counters }: Counted): { name: string; each: number }[] {
  const mma = counters.byClass['mma']!;
  const shown = SHOWN.map((name) => ({ name, each: counters.byClass[name]! / mma }));
  const rest = counters.warpInstructions / mma - shown.reduce((sum, { each }) => sum + each, 0);
  return [...shown, { name: 'other', each: rest }];
}

const whole = (x: number): string => x.toLocaleString('en-US');

function instructionsTable({ cases }: Counts): string {
  const header = ['warp instructions per mma', 'all', ...SHOWN.slice(1), 'other'];
  const lines = cases.map((counted) => {
    const { warpInstructions, byClass } = counted.counters;
    const each = perMma(counted).slice(1);
    return [label(counted), (warpInstructions / byClass['mma']!).toFixed(2), ...each.map((one) => one.each.toFixed(2))];
  });
  return alignedTable(header, lines);
}

function memoryTable({ cases }: Counts): string {
  const header = ['', 'mma', 'minimum', 'wavefronts', 'minimum', 'sectors read', 'minimum', 'written', 'minimum'];
  const lines = cases.map((counted) => {
    const { byClass, sharedLoads, sharedStores, globalLoads, globalStores } = counted.counters;
    return [
      label(counted),
      ...[
        byClass['mma']!,
        counted.mmaMinimum,
        sharedLoads.wavefronts + sharedStores.wavefronts,
        sharedLoads.minimum + sharedStores.minimum,
        globalLoads.sectors,
        globalLoads.minimum,
        globalStores.sectors,
        globalStores.minimum,
      ].map(whole),
    ];
  });
  return alignedTable(header, lines);
}

function kernelsTable({ kernels }: Counts): string {
  const header = [
    'kernel',
    'threads',
    'shared KiB',
    ...chips.map(({ target }) => `${target}: registers, spilled, warps`),
  ];
  const lines = Object.entries(kernels).map(([name, { threads, sharedBytes, targets }]) => {
    const each = chips.map(({ target }) => {
      const { registers, spilledBytes, residentWarps } = targets[target]!;
      return `${registers}, ${spilledBytes}, ${residentWarps}`;
    });
    return [name, `${threads}`, `${sharedBytes / 1024}`].concat(each);
  });
  return alignedTable(header, lines);
}

const UNITS: readonly Unit[] = ['tensor', 'issue', 'fp32', 'exp', 'shared', 'global'];

function rooflineTable({ cases }: Counts): string {
  const header = ['cycles per mma', ...UNITS, 'limit', 'of peak'];
  const lines = chips.flatMap((chip) =>
    cases.map((counted) => {
      const { cycles, limit, fraction } = rooflineOf(chip, counted);
      const each = UNITS.map((unit) => cycles[unit].toFixed(2));
      return [`${chip.name}: ${label(counted)}`, ...each, limit, `${(100 * fraction).toFixed(0)} %`];
    }),
  );
  return alignedTable(header, lines);
}

function plot({ cases }: Counts): TopLevelSpec {
  const values = cases.flatMap((counted) =>
    perMma(counted).map(({ name, each }, order) => ({ what: label(counted), name, each, order })),
  );
  const names = [...SHOWN, 'other'];
  return {
    title: `Warp instructions per mma, ${LENGTH} keys; counted, not timed`,
    config: THEME,
    data: { values },
    width: 560,
    mark: 'bar',
    encoding: {
      y: { field: 'what', type: 'nominal', title: null, sort: cases.map(label) },
      x: { field: 'each', type: 'quantitative', title: 'warp instructions per mma' },
      color: {
        field: 'name',
        type: 'nominal',
        title: null,
        sort: names,
        scale: { domain: names, scheme: 'tableau10' },
      },
      order: { field: 'order' },
    },
  };
}

function text(counts: Counts): string {
  const head =
    `Counted, not timed: ${LENGTH} queries and keys of one head, or (decode) a query of each of eight heads over as ` +
    `many keys of two, without putting the chunks together; nvcc ${counts.compiler}.`;
  return [head, instructionsTable(counts), memoryTable(counts), kernelsTable(counts), rooflineTable(counts)].join(
    '\n\n',
  );
}

async function main(): Promise<void> {
  const write = process.argv.includes('--write');
  const all = write ? countAll([LENGTH, SHORT]) : (JSON.parse(readFileSync(COUNTS, 'utf8')) as Counts);
  const counts = { ...all, cases: all.cases.filter(({ length }) => length === LENGTH) };
  console.log(text(counts));
  if (!write) return;
  writeFileSync(COUNTS, `${JSON.stringify(all, null, 1)}\n`);
  const plots = join(__dirname, '..', 'plots');
  writeFileSync(join(plots, PLOT), await toSvg(plot(counts)));
  replaceSection('gpu', `${text(counts)}\n\n![warp instructions per mma](plots/${PLOT})`);
}

void main();
