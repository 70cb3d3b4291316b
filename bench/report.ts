// Results as JSON, and as Markdown tables that read well in a terminal too.
import type { Suite } from './cases.js';
import type { Machine } from './machine.js';
import { median, quantile } from './measure.js';

export interface ContestantResult {
  name: string;
  unlike?: string;
  /** Part of the work that was done; times are scaled to the whole. */
  share: number;
  /** Milliseconds a call. */
  ms: { median: number; low: number; high: number };
  gflops: number;
  /** Median over the repeats of: useful operations a second over the peak measured just before. */
  fractionOfPeak: number;
  /** Median over the repeats of: this contestant's time over ours in the same repeat. */
  timesOurs: number;
  /** Bytes of inputs and output a second over the read bandwidth; only where that is the limit. */
  fractionOfRead?: number;
  samples: number[];
}

export interface CaseResult {
  suite: Suite;
  label: string;
  queries: number;
  keys: number;
  dim: number;
  flops: number;
  peakGflops: number;
  readGBs?: number;
  drift: number;
  noisy: boolean;
  contestants: ContestantResult[];
}

export interface Run {
  date: string;
  command: string;
  machine: Machine;
  /** Instruction set of our kernels and of the peak. */
  isa: string;
  threads: number;
  versions: Record<string, string>;
  cases: CaseResult[];
}

export function summarise(samples: readonly number[]): { median: number; low: number; high: number } {
  return { median: median(samples), low: quantile(samples, 0), high: quantile(samples, 1) };
}

function milliseconds(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  if (ms >= 1) return ms.toFixed(2);
  return ms.toFixed(4);
}

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;

function alignedTable(header: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
  const draw = (line: readonly string[]): string =>
    `| ${line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [draw(header), draw(rule), ...lines.map(draw)].join('\n');
}

function cells({ contestants, readGBs }: CaseResult): string[] {
  return contestants.flatMap((contestant, index) => {
    const { ms, gflops, fractionOfPeak, fractionOfRead, timesOurs } = contestant;
    const rate = readGBs === undefined ? `${gflops.toFixed(1)}` : percent(fractionOfRead!);
    const row = [milliseconds(ms.median), rate];
    if (readGBs === undefined) row.push(percent(fractionOfPeak));
    if (index > 0) row.push(`${timesOurs.toFixed(2)}×`);
    return row;
  });
}

function columns({ contestants, readGBs }: CaseResult): string[] {
  return contestants.flatMap(({ name }, index) => {
    const short = name
      .replace(/^onnxruntime /, 'ort ')
      .replace('plain JavaScript', 'js')
      .replace('fused-attention', 'ours');
    const titles = readGBs === undefined ? [`${short}: ms`, 'GF/s', 'peak'] : [`${short}: ms`, 'read'];
    return index > 0 ? [...titles, 'time/ours'] : titles;
  });
}

/** One table for each group of cases that had the same contestants. */
function suiteTables(results: readonly CaseResult[]): string {
  const groups = new Map<string, CaseResult[]>();
  for (const result of results) {
    const key = columns(result).join();
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return [...groups.values()]
    .map((group) => {
      const lines = group.map((result) => [
        `${result.label}${result.noisy ? ' (noisy)' : ''}`,
        ...cells(result),
        result.peakGflops.toFixed(1),
      ]);
      return alignedTable(['', ...columns(group[0]!), 'peak GF/s'], lines);
    })
    .join('\n\n');
}

function notes(results: readonly CaseResult[]): string[] {
  const seen = new Set<string>();
  for (const { contestants } of results) {
    for (const { name, unlike, share } of contestants) {
      if (unlike !== undefined) seen.add(`${name}: ${unlike}.`);
      if (share < 1) seen.add(`${name}: does every n-th query row only; its time is scaled to the whole.`);
    }
  }
  return [...seen];
}

export function toMarkdown(run: Run): string {
  const { machine, isa, threads } = run;
  const suites = [...new Set(run.cases.map(({ suite }) => suite))];
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  const head = [
    `${run.date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}, Node ${machine.node}`,
    `${isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'}; ${versions.join(', ')}`,
    `\`${run.command}\``,
  ];
  const sections = suites.map((suite) => {
    const results = run.cases.filter((result) => result.suite === suite);
    const remarks = notes(results).map((note) => `- ${note}`);
    return [`#### ${suite}`, suiteTables(results), remarks.join('\n')].filter((text) => text !== '').join('\n\n');
  });
  return [head.join('  \n'), ...sections].join('\n\n');
}
