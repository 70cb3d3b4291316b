// bench/gpu on the interpreter of test/ptx: its driver, small, and the counts that are kept of the kernels. Where what
// they need is not there, tests are skipped and say why; with CUDA_REQUIRED set they fail.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { chips, residentWarps } from '../bench/gpu/chips.js';
import type { Counts } from '../bench/gpu/counts.js';
import { compiler, countAll, SHORT } from '../bench/gpu/counts.js';
import { rooflineOf } from '../bench/gpu/roofline.js';
import { whyNoInterpreter } from './helpers/interpreter.js';
import type { Report } from './helpers/interpreter.js';
import { needing } from './helpers/needing.js';

const ROOT = join(__dirname, '..');
const DRIVER = join(ROOT, 'build-ptx', 'fused_attention_gpu_bench');
const kept = JSON.parse(readFileSync(join(ROOT, 'bench', 'gpu', 'counts.json'), 'utf8')) as Counts;

/** A PyTorch that computes nothing, so that what is asked of it is seen. */
const FAKE_TORCH = `
import contextlib, types
__version__ = "0 (a fake)"
float16 = bfloat16 = float32 = None
no_grad = contextlib.nullcontext
cuda = types.SimpleNamespace(is_available=lambda: True, synchronize=lambda: None, empty_cache=lambda: None)
def randn(batch, heads, rows, dim, device, dtype):
    return (batch, heads, rows, dim)
def scaled_dot_product_attention(q, k, v, is_causal, enable_gqa=False):
    assert k == v and enable_gqa == (q[1] != k[1]) and not (is_causal and q[2] != k[2])
    if is_causal: raise RuntimeError("this one is never causal")
nn = types.SimpleNamespace(functional=types.SimpleNamespace(scaled_dot_product_attention=scaled_dot_product_attention))
`;

interface Measured {
  device: string;
  torch: string;
  checked: unknown[];
  timed: { label: string; causal: boolean; kernel: string; milliseconds: number[]; torchMilliseconds: number | null }[];
}

/** What the driver wrote and printed, and what the interpreter reports. */
function driven(options: string[], variables: Record<string, string>, files: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'fused-attention-gpu-bench-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const json = join(folder, 'bench.json');
    const PTX_REPORT = join(folder, 'report.json');
    const { status, stdout, stderr } = spawnSync(DRIVER, [...options, '--json', json], {
      env: { ...process.env, PTX_REPORT, PYTHONPATH: folder, ...variables },
      encoding: 'utf8',
    });
    const measured = existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as Measured) : null;
    const reports = existsSync(PTX_REPORT) ? (JSON.parse(readFileSync(PTX_REPORT, 'utf8')) as Report[]) : [];
    return { status, stdout, stderr, measured, reports };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const interpreter = { FUSED_ATTENTION_LIBCUDA: join(ROOT, 'build-ptx', 'ptx', 'libcuda.so.1') };
const noInterpreter = whyNoInterpreter();
const noDriver =
  noInterpreter ??
  (existsSync(DRIVER) ? null : `no driver (cmake with -DFUSED_ATTENTION_GPU_BENCH=ON makes it): ${DRIVER}`);

needing(noDriver, 'CUDA_REQUIRED')('gpu bench: the driver checks and times every kernel', (t) => {
  const { status, stdout, stderr, measured, reports } = driven(['--small'], {
    ...interpreter,
    PYTHON: 'no-such-python',
  });
  t.is(status, 0, stdout + stderr);
  t.regex(stdout, /\n\d+ passed, 0 failed\n$/);
  t.deepEqual(reports[0]!.findings, []);
  const { checked, timed, torch } = measured!;
  t.is(torch, 'skipped, no no-such-python');
  t.true(checked.length > 50);
  t.true(timed.every(({ milliseconds }) => milliseconds.length > 0 && milliseconds.every((ms) => ms > 0)));
  const kernels = new Set(timed.map(({ kernel }) => kernel));
  for (const kernel of Object.keys(kept.kernels)) {
    // Halves of up to 128 components take a general one where keys are in pages, which the driver does not time.
    const other = /forward_(bf16_256|b?f16_(64|128))_general/.test(kernel);
    t.true(kernels.has(kernel) || other, kernel);
  }
});

const python = spawnSync('python3', ['--version']).status === 0 ? null : 'no python3';
needing(noDriver ?? python, 'CUDA_REQUIRED')("gpu bench: PyTorch's times stand beside, where it has any", (t) => {
  const options = ['--small', '--only', 'bfloat16 D 128'];
  const { status, stdout, stderr, measured } = driven(options, interpreter, { 'torch.py': FAKE_TORCH });
  t.is(status, 0, stdout + stderr);
  const { timed, torch } = measured!;
  t.is(torch, 'torch 0 (a fake)');
  t.is(timed.length, 3);
  for (const { causal, torchMilliseconds, label } of timed) t.is(torchMilliseconds === null, causal, label);
});

needing(noDriver, 'CUDA_REQUIRED')('gpu bench: without a device the driver says why', (t) => {
  const { status, stderr, measured } = driven(['--small'], { FUSED_ATTENTION_LIBCUDA: '/nowhere/libcuda.so.1' });
  t.is(status, 2);
  t.regex(stderr, /^no CUDA device: .*FUSED_ATTENTION_LIBCUDA/);
  t.is(measured, null);
});

needing(noInterpreter, 'CUDA_REQUIRED')('gpu bench: what the kernels do is what is kept of it', (t) => {
  t.is(compiler(), kept.compiler, 'another nvcc makes other code: npm --prefix bench run gpu -- --write');
  const cases = kept.cases.filter(({ length }) => length === SHORT);
  t.deepEqual(countAll([SHORT]), { ...kept, cases }, 'if it is meant: npm --prefix bench run gpu -- --write');
});

test('gpu bench: what is kept is within the bars', (t) => {
  for (const { dtype, dim, kind, kernel, mmaMinimum, counters } of kept.cases) {
    const { byClass, sharedLoads, sharedStores, globalLoads, globalStores } = counters;
    if (kind !== 'causal') t.is(byClass['mma'], mmaMinimum);
    for (const { sectors, minimum } of [globalLoads, globalStores]) t.is(sectors, minimum);
    for (const { registers, spilledBytes, residentWarps: warps } of Object.values(kept.kernels[kernel]!.targets)) {
      t.is(spilledBytes, 0);
      // Few queries wait for memory, and have much of it on its way: of long rows fewer warps do.
      const least = (dim === 64 ? 8 : 4) / (kind === 'decode' && dtype === 'float32' ? 2 : 1);
      t.true(registers <= 255 && warps >= least, `${kernel}: ${registers} registers, ${warps} warps`);
    }
    if (dtype === 'float32') continue;
    for (const { wavefronts, minimum } of [sharedLoads, sharedStores]) t.is(wavefronts, minimum);
  }
});

test('gpu bench: warps that are resident, by what they share', (t) => {
  const [a100, rtx4090, h100] = chips as [(typeof chips)[0], (typeof chips)[0], (typeof chips)[0]];
  t.is(residentWarps(a100, 255, 128, 65536), 8); // registers: 8 a part
  t.is(residentWarps(a100, 128, 128, 65536), 8); // shared memory: 2 blocks
  t.is(residentWarps(h100, 128, 128, 65536), 12);
  t.is(residentWarps(rtx4090, 128, 256, 65536), 8);
  t.is(residentWarps(a100, 16, 32, 0), 32); // blocks
  t.is(residentWarps(rtx4090, 16, 1024, 0), 32); // warps: 48, of which one block has 32
});

test('gpu bench: the roofline names the unit that takes longest', (t) => {
  for (const chip of chips) {
    for (const counted of kept.cases) {
      const { cycles, limit, fraction } = rooflineOf(chip, counted);
      t.is(cycles[limit], Math.max(...Object.values(cycles)));
      t.true(fraction > 0 && fraction <= 1);
    }
  }
  const [dense, rtx4090] = [kept.cases[0]!, chips[1]!];
  t.is(rooflineOf(rtx4090, dense).limit, 'tensor');
  t.is(rooflineOf(rtx4090, dense).cycles.tensor, 8);
});
