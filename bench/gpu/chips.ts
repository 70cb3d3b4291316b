// What a multiprocessor of three GPUs does in a cycle, from public figures.
//
// Tensor, clocks, multiprocessors: NVIDIA A100 Tensor Core GPU Architecture (312 and 156 TFLOP/s at 1.41 GHz, 108),
// NVIDIA Ada GPU Architecture, appendix A (RTX 4090: 165.2 with float32 sums, and 82.6, at 2.52 GHz, 128), NVIDIA H100
// Tensor Core GPU Architecture (SXM5: 989.4 and 494.7 at 1.83 GHz, 132); dense. mma.sync, the one instruction that all
// three have, gets 62.9 % of that from an H100: Luo et al., Benchmarking and Dissecting the Nvidia Hopper GPU
// Architecture, arXiv:2402.13499.
// float32, special functions, shared memory, schedulers, and what limits resident warps: CUDA C++ Programming Guide,
// tables of arithmetic throughput and of technical specifications by compute capability 8.0, 8.9 and 9.0.
// Global memory, as it comes from the second-level cache: 5120 bytes a cycle of the whole A100 (NVIDIA's document above)
// and of the H100 (doi 10.1016/j.ultsonch.2023.106546, table 3); about 5 TB/s of the RTX 4090 (Chips and Cheese,
// Microbenchmarking Nvidia's RTX 4090, 2022), which up to 128 components is far from a limit there.

export interface Chip {
  name: string;
  target: 'sm_80' | 'sm_89' | 'sm_90';
  /** Of a multiprocessor, in a cycle. */
  tensorFlops: { half: number; tf32: number };
  /** The part of it that mma.sync gets. */
  reached: number;
  float32: number;
  special: number;
  globalBytes: number;
  /** What warps share. */
  sharedBytes: number;
  warps: number;
  blocks: number;
}

/** Of every one of them, in a cycle: warp instructions issued, and bytes of shared memory. */
export const ISSUED = 4;
export const SHARED_BYTES = 128;
export const REGISTERS = 65536;

export const chips: readonly Chip[] = [
  {
    name: 'A100',
    target: 'sm_80',
    tensorFlops: { half: 2048, tf32: 1024 },
    reached: 1,
    float32: 64,
    special: 16,
    globalBytes: 5120 / 108,
    sharedBytes: 164 * 1024,
    warps: 64,
    blocks: 32,
  },
  {
    name: 'RTX 4090',
    target: 'sm_89',
    tensorFlops: { half: 512, tf32: 256 },
    reached: 1,
    float32: 128,
    special: 16,
    globalBytes: 5e12 / 128 / 2.52e9,
    sharedBytes: 100 * 1024,
    warps: 48,
    blocks: 24,
  },
  {
    name: 'H100',
    target: 'sm_90',
    tensorFlops: { half: 4096, tf32: 2048 },
    reached: 0.629,
    float32: 128,
    special: 16,
    globalBytes: 5120 / 132,
    sharedBytes: 228 * 1024,
    warps: 64,
    blocks: 32,
  },
];

/** Warps that a multiprocessor holds at a time, of blocks of so many threads and bytes of shared memory. */
export function residentWarps(chip: Chip, registers: number, threads: number, sharedBytes: number): number {
  // Registers go by 256 to a warp, and warps by fours to the parts of a multiprocessor; a block takes a KiB besides.
  const ofWarp = Math.ceil((registers * 32) / 256) * 256;
  const byRegisters = Math.floor(REGISTERS / 4 / ofWarp) * 4;
  const warps = threads / 32;
  const blocks = Math.min(
    chip.blocks,
    Math.floor(Math.min(chip.warps, byRegisters) / warps),
    Math.floor(chip.sharedBytes / (sharedBytes + 1024)),
  );
  return blocks * warps;
}
