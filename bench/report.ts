// A run as Markdown tables that read well in a terminal too.
import { judgeBars, type Verdict } from './bars.js';
import type { CaseFigures, ContestantFigures, Run } from './figures.js';

function milliseconds(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  if (ms >= 1) return ms.toFixed(2);
  return ms.toFixed(4);
}

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
const NONE = '–';

export const short = (name: string): string =>
  name
    .replace('onnxruntime MultiHeadAttention', 'ort MHA')
    .replace('onnxruntime GroupQueryAttention', 'ort GQA')
    .replace('onnxruntime', 'ort')
    .replace('tfjs-backend-wasm', 'tfjs wasm')
    .replace('@ruvector/attention', 'ruvector')
    .replace('plain JavaScript', 'js')
    .replace('fused-attention', 'ours');

/** Markdown; the first column to the left, the others to the right. */
export function alignedTable(header: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
  const draw = (line: readonly string[]): string =>
    `| ${line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [draw(header), draw(rule), ...lines.map(draw)].join('\n');
}

/** One row a case, two columns a contestant; who does not take part in a case has a dash there, and a note below. */
function suiteTable(results: readonly CaseFigures[]): string {
  const others = [
    ...new Set(
      results.flatMap(({ contestants, absent }) => [...contestants.slice(1), ...absent].map(({ name }) => name)),
    ),
  ].filter((name) => results.some(({ contestants }) => contestants.some((one) => one.name === name)));
  const reads = results.some(({ readGBs }) => readGBs !== undefined);
  const header = [
    '',
    'ours: ms',
    'GF/s',
    'peak',
    ...(reads ? ['read'] : []),
    ...others.flatMap((name) => [`${short(name)}: ms`, '/ours']),
    'peak GF/s',
    ...(reads ? ['read GB/s'] : []),
    'drift',
  ];
  const cells = (one: ContestantFigures | undefined): string[] =>
    one === undefined ? [NONE, NONE] : [milliseconds(one.ms.median), `${one.timesOurs.toFixed(2)}×`];
  const lines = results.map((result) => {
    const mine = result.contestants[0];
    if (mine === undefined) return [`${result.label} (failed)`, ...header.slice(1).map(() => NONE)];
    return [
      `${result.label}${result.noisy ? ' (noisy)' : ''}`,
      milliseconds(mine.ms.median),
      mine.gflops.toFixed(1),
      percent(mine.fractionOfPeak),
      ...(reads ? [mine.fractionOfRead === undefined ? NONE : percent(mine.fractionOfRead)] : []),
      ...others.flatMap((name) => cells(result.contestants.find((one) => one.name === name))),
      result.peakGflops.toFixed(1),
      ...(reads ? [result.readGBs?.toFixed(1) ?? NONE] : []),
      percent(result.drift),
    ];
  });
  return alignedTable(header, lines);
}

/** Remarks, those of several cases once, with the cases where they are not all. */
function notes(results: readonly CaseFigures[]): string[] {
  const seen = new Map<string, string[]>();
  const add = (note: string, { label }: CaseFigures): void => {
    seen.set(note, [...(seen.get(note) ?? []), label]);
  };
  for (const result of results) {
    for (const { name, unlike, share } of result.contestants) {
      if (unlike !== undefined) add(`${short(name)}: ${unlike}.`, result);
      if (share < 1) add(`${short(name)}: does a part of the work only; its time is scaled to the whole.`, result);
    }
    const reasons = [...new Set(result.absent.map(({ absent }) => absent))];
    for (const reason of reasons) {
      const names = result.absent.filter(({ absent }) => absent === reason).map(({ name }) => short(name));
      add(`not taking part: ${names.join(', ')}: ${reason}.`, result);
    }
    if (result.failed !== undefined) add(`failed: ${result.failed}`, result);
    if (result.random) add(`${result.label}: \`${result.program}\``, result);
  }
  return [...seen].map(([note, labels]) => {
    const everywhere = labels.length === results.length || note.startsWith(labels[0]!);
    const some = labels.length > 1 ? `${labels.length} of ${results.length} cases` : labels[0];
    return everywhere ? `- ${note}` : `- ${note} (${some})`;
  });
}

function verdictRow({ bar, value, met, where, noisy }: Verdict): string[] {
  const figure = (x: number): string => (bar.unit === 'µs' ? `${x.toFixed(1)} µs` : `${x.toFixed(2)}${bar.unit}`);
  let bound = '';
  if (bar.atLeast !== undefined) bound = `≥ ${bar.atLeast}${bar.stretch === undefined ? '' : ` (${bar.stretch})`}`;
  if (bar.atMost !== undefined) bound = `≤ ${bar.atMost}`;
  let verdict = met === null ? '' : met ? 'met' : 'MISSED';
  if (met && bar.stretch !== undefined && value! >= bar.stretch) verdict = 'met, stretch too';
  return [bar.what, value === null ? 'not measured' : figure(value), bound, verdict + (noisy ? ' (noisy)' : ''), where];
}

/** The bars that this run has figures for; of several cases the worst one. */
export function barsTable(run: Run): string {
  const verdicts = judgeBars(run).filter(({ value }) => value !== null);
  if (verdicts.length === 0) return '';
  const missed = verdicts.filter(({ met }) => met === false).length;
  const met = verdicts.filter((verdict) => verdict.met).length;
  const table = alignedTable(['bar', 'measured', 'bound', 'verdict', 'worst case'], verdicts.map(verdictRow));
  return `#### bars\n\n${table}\n\n${met} met, ${missed} missed.`;
}

export const threadsText = (threads: number): string => `${threads} ${threads === 1 ? 'thread' : 'threads'}`;

export function toMarkdown(run: Run): string {
  const { machine, isa, threads, seconds, seed } = run;
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  const head = [
    `${run.date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}, Node ${machine.node}, load before ${machine.load}`,
    `${isa}; ${versions.join(', ')}; random programs of seed ${seed}`,
    `\`${run.command}\`, ${Math.round(seconds)} s`,
  ];
  const sections = threads.flatMap((count) => {
    const measured = run.cases.filter((result) => result.threads === count);
    return [...new Set(measured.map(({ suite }) => suite))].map((suite) => {
      const results = measured.filter((result) => result.suite === suite);
      const texts = [`#### ${suite}, ${threadsText(count)}`, suiteTable(results), notes(results).join('\n')];
      return texts.filter((text) => text !== '').join('\n\n');
    });
  });
  return [head.join('  \n'), ...sections, barsTable(run)].filter((text) => text !== '').join('\n\n');
}
