// A run as SVG plots: speed over length, and a roofline with every case of ours on it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };
import type { CaseFigures, Run } from './figures.js';
import { median } from './measure.js';
import { short, threadsText } from './report.js';

/** Draws a plot. */
export async function toSvg(spec: TopLevelSpec): Promise<string> {
  const [{ compile }, { parse, View }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}

export const THEME = {
  background: 'white',
  font: 'sans-serif',
  axis: { labelFontSize: 11, titleFontSize: 12 },
  legend: { labelLimit: 0 },
} as const;

const isSpeedCase = ({ suite, label }: CaseFigures): boolean =>
  (suite === 'prefill' || suite === 'causal') && !label.includes('[');

/** Useful GF/s of everybody over sequence length, a panel for each mask and head size. */
function speedOverLength(cases: readonly CaseFigures[], title: string): TopLevelSpec {
  const values = cases.filter(isSpeedCase).flatMap(({ suite, keys, dim, flops, peakGflops, contestants }) =>
    contestants
      .filter(({ role }) => role !== 'reference')
      .map(({ name, ms }) => ({
        suite,
        keys,
        dim: `D ${dim}`,
        who: short(name),
        gflops: flops / ms.median / 1e6,
        peakGflops,
      })),
  );
  const lengths = [...new Set(values.map(({ keys }) => keys))];
  return {
    title: `Useful GF/s over sequence length, ${title}; dashed: FMA peak`,
    config: THEME,
    data: { values },
    facet: {
      row: { field: 'suite', title: null, sort: ['prefill', 'causal'] },
      column: { field: 'dim', title: null, sort: ['D 64', 'D 128'] },
    },
    spec: {
      width: 300,
      height: 200,
      layer: [
        {
          mark: { type: 'line', point: true },
          encoding: {
            x: {
              field: 'keys',
              type: 'quantitative',
              scale: { type: 'log', base: 2 },
              axis: { values: lengths, format: 'd' },
              title: 'sequence length',
            },
            y: { field: 'gflops', type: 'quantitative', title: 'GF/s' },
            color: { field: 'who', type: 'nominal', title: null },
          },
        },
        {
          mark: { type: 'rule', strokeDash: [4, 4], color: 'gray' },
          encoding: { y: { aggregate: 'median', field: 'peakGflops', type: 'quantitative' } },
        },
      ],
    },
  };
}

/** Useful GF/s over useful operations a byte, under the two limits that were measured beside. */
function roofline(cases: readonly CaseFigures[], title: string): TopLevelSpec {
  const measured = cases.filter(({ suite, contestants }) => suite !== 'call' && contestants.length > 0);
  const values = measured.map((figures) => ({
    suite: figures.suite,
    label: figures.label,
    intensity: figures.flops / figures.leastBytes,
    gflops: figures.contestants[0]!.gflops,
  }));
  const peak = median(measured.map(({ peakGflops }) => peakGflops));
  const reads = measured.flatMap(({ readGBs }) => readGBs ?? []);
  const top = Math.max(...values.map(({ intensity }) => intensity), 16);
  const roof = reads.length === 0 ? [] : [{ read: median(reads) }];
  const line = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
    .filter((intensity) => intensity <= 2 * top)
    .map((intensity) => ({
      intensity,
      roof: Math.min(peak, roof.length === 0 ? peak : intensity * roof[0]!.read),
    }));
  const x = { field: 'intensity', type: 'quantitative', scale: { type: 'log', base: 2 } } as const;
  return {
    title: `Roofline, ${title}; dashed: FMA peak and read bandwidth`,
    config: THEME,
    width: 620,
    height: 360,
    layer: [
      {
        data: { values: line },
        mark: { type: 'line', strokeDash: [4, 4], color: 'gray' },
        encoding: { x, y: { field: 'roof', type: 'quantitative', scale: { type: 'log', base: 2 } } },
      },
      {
        data: { values },
        mark: { type: 'point', filled: true, size: 60 },
        encoding: {
          x: { ...x, title: 'useful operations a byte of inputs and output' },
          y: { field: 'gflops', type: 'quantitative', scale: { type: 'log', base: 2 }, title: 'useful GF/s' },
          color: { field: 'suite', type: 'nominal', title: null },
          tooltip: { field: 'label', type: 'nominal' },
        },
      },
    ],
  };
}

/** Writes `<name>-<threads>-speed.svg` and `<name>-<threads>-roofline.svg` for each thread count; answers their names. */
export async function writePlots(run: Run, folder: string, name: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const files: string[] = [];
  for (const threads of run.threads) {
    const cases = run.cases.filter((figures) => figures.threads === threads);
    const title = `${threadsText(threads)}, ${run.isa}`;
    const plots: Record<string, TopLevelSpec> = {};
    if (cases.some(isSpeedCase)) plots['speed'] = speedOverLength(cases, title);
    plots['roofline'] = roofline(cases, title);
    for (const [kind, spec] of Object.entries(plots)) {
      const file = `${name}-${threads}-thread${threads === 1 ? '' : 's'}-${kind}.svg`;
      writeFileSync(join(folder, file), await toSvg(spec));
      files.push(file);
    }
  }
  return files;
}
