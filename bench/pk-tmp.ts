import { yardsticks } from './peers/peak.js';
const q = (v: number[], p: number) => [...v].sort((a, b) => a - b)[Math.floor(p * (v.length - 1))]!;
const show = (n: string, v: number[]) =>
  console.log(n, [0, 0.1, 0.5, 0.9, 1].map((p) => (q(v, p) / 1e9).toFixed(1)).join(' '));
for (const ms of [10, 50, 200, 800])
  for (const t of [1, 2])
    show(
      `fma ${t} ${ms}`,
      Array.from({ length: ms > 100 ? 5 : 20 }, () => yardsticks.fma('avx2', t, ms)),
    );
