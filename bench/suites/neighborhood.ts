import { square, type Case } from '../case.js';

interface Window {
  grid: number[];
  /** Along every axis, or along each. */
  window: number | number[];
  dim?: number;
  /** Windows that do not overlap: the stride is the window. */
  apart?: true;
  dilation?: number;
}

function near({ grid, window, dim = 64, apart, dilation = 1 }: Window): Case {
  const windows = grid.map((_, axis) => (typeof window === 'number' ? window : window[axis]!));
  const rows = grid.reduce((cells, length) => cells * length, 1);
  const axes = grid.map((length, axis) => {
    const width = windows[axis]!;
    return { length, window: width, stride: apart ? width : 1, dilation, causal: false };
  });
  const what = `${apart ? 'windows of' : 'window'} ${windows.join('×')}`;
  const label = `${grid.join('×')}, ${what}, D ${dim}${dilation > 1 ? `, dilation ${dilation}` : ''}`;
  return square('neighborhood', rows, dim, { label, mask: { kind: 'neighborhood', axes } });
}

/** A window of neighbours on a grid of one to three axes. */
export const neighborhood = (): Case[] => [
  near({ grid: [64, 64], window: 13 }),
  near({ grid: [64, 64], window: 13, dilation: 2 }),
  near({ grid: [64, 64], window: 13, dilation: 4 }),
  near({ grid: [16384], window: 255 }),
  near({ grid: [16384], window: 255, dilation: 8 }),
  near({ grid: [16, 32, 32], window: [5, 9, 9] }),
  near({ grid: [56, 56], window: 7, dim: 32 }),
  near({ grid: [56, 56], window: 7, dim: 32, dilation: 2 }),
  near({ grid: [64, 64], window: 8, apart: true }),
  near({ grid: [56, 56], window: 7, dim: 32, apart: true }),
];
