// A run as SVG plots: speed over length, and the part of the peak that every case reaches.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };
import type { Run } from './report.js';

async function toSvg(spec: TopLevelSpec): Promise<string> {
  const [{ compile }, { parse, View }] = await Promise.all([import('vega-lite'), import('vega')]);
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}

const THEME = {
  background: 'white',
  font: 'sans-serif',
  axis: { labelFontSize: 11, titleFontSize: 12 },
  legend: { labelLimit: 0 },
} as const;

function rows(run: Run) {
  return run.cases.flatMap(({ suite, label, keys, dim, peakGflops, contestants }) =>
    contestants.map(({ name: who, gflops, fractionOfPeak }) => {
      return {
        suite,
        label,
        name: `${suite}: ${label}`,
        keys,
        dim: `D ${dim}`,
        who,
        gflops,
        fractionOfPeak,
        peakGflops,
      };
    }),
  );
}

function setting({ threads, isa }: Run): string {
  return `${threads} ${threads === 1 ? 'thread' : 'threads'}, ${isa}`;
}

function speedOverLength(run: Run): TopLevelSpec {
  const values = rows(run).filter(
    ({ suite, label }) => (suite === 'prefill' || suite === 'causal') && !label.includes('['),
  );
  const lengths = [...new Set(values.map(({ keys }) => keys))];
  return {
    title: `Useful GF/s over sequence length, ${setting(run)}; dashed: FMA peak`,
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

function fractionByCase(run: Run): TopLevelSpec {
  const values = rows(run).filter(({ suite }) => suite !== 'call' && suite !== 'decode');
  return {
    title: `Part of the FMA peak reached, ${setting(run)}`,
    config: THEME,
    data: { values },
    width: 420,
    mark: { type: 'point', filled: true, size: 60 },
    encoding: {
      y: { field: 'name', type: 'nominal', sort: null, title: null, axis: { labelLimit: 0 } },
      x: {
        field: 'fractionOfPeak',
        type: 'quantitative',
        title: 'useful operations / peak',
        axis: { format: '%' },
        scale: { domain: [0, 1] },
      },
      color: { field: 'who', type: 'nominal', title: null },
    },
  };
}

/** Writes `<name>-speed.svg` and `<name>-peak.svg`; answers their file names. */
export async function writePlots(run: Run, folder: string, name: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const plots: [string, TopLevelSpec][] = [];
  if (run.cases.some(({ suite }) => suite === 'prefill' || suite === 'causal')) {
    plots.push([`${name}-speed.svg`, speedOverLength(run)]);
  }
  plots.push([`${name}-peak.svg`, fractionByCase(run)]);
  for (const [file, spec] of plots) writeFileSync(join(folder, file), await toSvg(spec));
  return plots.map(([file]) => file);
}
