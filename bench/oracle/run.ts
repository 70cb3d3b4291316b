// npm --prefix bench run oracle
//
// Runs every case through this library and through onnxruntime and compares all outputs within float32 rounding.
// A difference, a refusal or a failure of either side is a failed case; the exit status is 1 if there is any.
import { describeCase, oracleCases, type OracleCase } from './cases.js';
import { compare } from './compare.js';
import { runOnnxruntime } from './onnxruntime.js';
import { makeOperands } from './operands.js';
import { runOurs } from './ours.js';

const LEAST_CASES = 50;

/** null when equal, else what is wrong. */
async function judge(c: OracleCase): Promise<{ wrong: string | null; worst: number }> {
  const operands = makeOperands(c);
  try {
    const theirs = await runOnnxruntime(c, operands);
    const ours = runOurs(c, operands);
    const { worst, where, ours: off } = compare(c, operands, ours, theirs);
    if (!(worst <= 1)) return { wrong: `${worst.toPrecision(3)} times the allowed difference at ${where}`, worst };
    if (!(off <= 1)) return { wrong: `${off.toPrecision(3)} times the promised error against float64`, worst };
    return { wrong: null, worst };
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : String(error), worst: Infinity };
  }
}

async function main(): Promise<void> {
  let passed = 0;
  let failed = 0;
  let worst = 0;
  for (const c of oracleCases) {
    const verdict = await judge(c);
    if (verdict.wrong === null) {
      passed++;
      worst = Math.max(worst, verdict.worst);
    } else {
      failed++;
      console.log(`FAILED ${describeCase(c)}: ${verdict.wrong}`);
    }
  }
  if (oracleCases.length < LEAST_CASES)
    throw new Error(`${oracleCases.length} cases, expected at least ${LEAST_CASES}`);
  console.log(`largest difference of those that passed: ${worst.toFixed(3)} of what float32 rounding allows`);
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
