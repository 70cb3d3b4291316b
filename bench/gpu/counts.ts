// What the kernels do, counted by the interpreter of test/ptx, and what ptxas makes of them. Exact and repeatable for one
// version of the compiler: counts.json is compared with it by test/79-gpu-bench.ts.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { interpreted } from '../../test/helpers/interpreter.js';
import type { Counters } from '../../test/helpers/interpreter.js';
import { chips, residentWarps } from './chips.js';

/** Keys: of the tables, and of what tests count anew, which takes seconds. */
export const LENGTH = 2048;
export const SHORT = 256;
const ROOT = join(__dirname, '..', '..');

type Dtype = 'float16' | 'bfloat16' | 'float32';

/**
 * As many queries as keys of one head, all or half of them seen, or the keys in pages of 16; or a query of each of eight
 * heads over the keys of two.
 */
const kinds = ['dense', 'causal', 'paged', 'decode'] as const;

export interface Case {
  length: number;
  dtype: Dtype;
  dim: number;
  kind: (typeof kinds)[number];
}

export interface Counted extends Case {
  kernel: string;
  /** The fewest that what is seen allows, in tiles of 16 queries and 16 keys; float32 takes three products. */
  mmaMinimum: number;
  /** 2 for each multiply-add of a pair that is seen. */
  flops: number;
  counters: Counters;
}

/** What the assembler says of a kernel on a generation. */
interface Compiled {
  registers: number;
  spilledBytes: number;
  residentWarps: number;
}

export interface Kernel {
  threads: number;
  sharedBytes: number;
  targets: Record<string, Compiled>;
}

export interface Counts {
  /** Release of nvcc. */
  compiler: string;
  kernels: Record<string, Kernel>;
  cases: Counted[];
}

const shapes: readonly [Dtype, number][] = [
  ['float16', 64],
  ['float16', 128],
  ['float16', 256],
  ['bfloat16', 64],
  ['bfloat16', 128],
  ['bfloat16', 256],
  ['float32', 64],
  ['float32', 128],
];

/** Few queries of more components take the kernels of many. */
const shapesOf = (kind: Case['kind']): typeof shapes => shapes.filter(([, dim]) => kind !== 'decode' || dim <= 128);

/** Operations of an instruction: m16n8k16 of halves, m16n8k8 of float32's parts. */
export const flopsOfMma = ({ dtype }: Case): number => (dtype === 'float32' ? 2048 : 4096);

function mmaMinimum({ length, dtype, dim, kind }: Case): number {
  const tiles = length / 16;
  const seen = kind === 'decode' ? 2 * tiles : kind === 'causal' ? (tiles * (tiles + 1)) / 2 : tiles * tiles;
  // Three products of halves stand for one in float32; scores of short rows take the fourth, too. Each is half as deep.
  const products = dtype === 'float32' ? 2 * ((dim <= 64 ? 4 : 3) + 3) : 2;
  return (seen * products * dim) / 8;
}

interface Explained {
  kernel: string;
  threads: number;
  flops: number;
  workspaceBytes: number;
}

/** All shapes in one process: each has a kernel of its own, which its counts stand under. */
function count(length: number, kind: Case['kind']): { explained: Explained[]; counters: Record<string, Counters> } {
  const query = kind === 'decode' ? '[1, 8, 1]' : `[1, 1, ${length}]`;
  const pages = length / 16;
  const keys = { paged: `[${pages}, 1, 16]`, decode: `[1, 2, ${length}]` }[kind as string] ?? query;
  const options: Partial<Record<Case['kind'], string>> = {
    causal: 'mask: fused.causal()',
    paged: `pages: { table: [[...Array(${pages}).keys()].reverse()], lengths: [${length}] }`,
  };
  const { result, report } = interpreted(
    `
    const { Random } = require('./test/reference/random.ts');
    const { encode16 } = require('./test/reference/half.ts');
    return ${JSON.stringify(shapesOf(kind))}.map(([dtype, dim]) => {
      const random = new Random(5);
      const drawn = (...shape) => {
        const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
        const data = dtype === 'float32' ? values : Uint16Array.from(values, (x) => encode16(dtype, x));
        return Tensor.from(data, shape, { dtype });
      };
      const [q, k, v] = [${query}, ${keys}, ${keys}].map((shape) => drawn(...shape, dim));
      const options = { device: 'cuda', lse: true, ${options[kind] ?? ''} };
      attentionSync(q, k, v, options);
      const { kernel, threads, flops, workspaceBytes } = fused.explain(q, k, v, options);
      return { kernel, threads, flops, workspaceBytes };
    });
  `,
    { PTX_RACES: '0' },
  );
  return { explained: result as Explained[], counters: report.kernels };
}

/** Of each kernel, on the generation: what `ptxas -v` says. */
function assembled(target: string): Map<string, { registers: number; spilledBytes: number }> {
  const program = join(ROOT, 'build', 'cuda', 'forward.ptx');
  const command = `ptxas -v -arch=${target} -o /dev/null '${program}' 2>&1`;
  const log = execFileSync('/bin/sh', ['-c', command], { encoding: 'utf8' });
  const entry =
    /Compiling entry function '(\w+)'[\s\S]*?(\d+) bytes spill stores, (\d+) bytes spill loads[\s\S]*?Used (\d+) registers/g;
  return new Map(
    [...log.matchAll(entry)].map(([, name, stores, loads, registers]) => [
      name!,
      { registers: Number(registers), spilledBytes: Number(stores) + Number(loads) },
    ]),
  );
}

/** Which nvcc there is: another one makes other code. */
export function compiler(): string {
  return /V([\d.]+)/.exec(execFileSync('nvcc', ['--version'], { encoding: 'utf8' }))![1]!;
}

/** Counts calls of so many queries and keys: needs the addon and the interpreter. */
function countCases(length: number): { cases: Counted[]; kernels: Record<string, Kernel> } {
  const kernels: Record<string, Kernel> = {};
  const cases = kinds.flatMap((kind) => {
    const { explained, counters } = count(length, kind);
    return explained.map(({ kernel, threads, flops, workspaceBytes }, n): Counted => {
      const [dtype, dim] = shapesOf(kind)[n]!;
      const what = { length, dtype, dim, kind };
      kernels[kernel] = { threads, sharedBytes: workspaceBytes, targets: {} };
      return Object.assign(what, { kernel, mmaMinimum: mmaMinimum(what), flops, counters: counters[kernel]! });
    });
  });
  return { cases, kernels };
}

/** Counts anew: needs nvcc and ptxas besides. */
export function countAll(lengths: readonly number[]): Counts {
  const counted = lengths.map(countCases);
  const kernels = counted[0]!.kernels;
  for (const chip of chips) {
    const compiled = assembled(chip.target);
    for (const [name, { threads, sharedBytes, targets }] of Object.entries(kernels)) {
      const { registers, spilledBytes } = compiled.get(name)!;
      const warps = residentWarps(chip, registers, threads, sharedBytes);
      targets[chip.target] = { registers, spilledBytes, residentWarps: warps };
    }
  }
  return { compiler: compiler(), kernels, cases: counted.flatMap(({ cases }) => cases) };
}

export const label = ({ dtype, dim, kind }: Case): string => `${dtype}, D ${dim}${kind === 'dense' ? '' : `, ${kind}`}`;
