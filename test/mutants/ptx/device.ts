// Run in the process that has the interpreter: computes the calls of a kernel on each device, whose kernels are mutants but
// for the first one's, and writes a line for each.
//   node --require=tsx/cjs device.ts KERNEL DEVICES

import { attentionSync } from '../../../lib/index.js';
import { actualOf, type Result } from '../../reference/call.js';
import { differences } from '../../reference/check.js';
import { checksOf, type Check } from './cases.js';

/** What came of a device's calls. */
export interface Outcome {
  readonly device: number;
  /** The first result that is wrong, or the error of the call; null when all are right. */
  readonly wrong: string | null;
  /** Whether some results have other bits than the first device's. */
  readonly differs: boolean;
}

/** As in the tests of the kernels. */
const rules = { roundedWeights: true, times: 1.5, fewest: 32 };

function compute({ call }: Check, device: number): Result {
  const { query, key, value, options } = call;
  return attentionSync(query, key, value, { ...options, device: device === 0 ? 'cuda' : `cuda:${device}` }) as Result;
}

function sameBits(a: Result, b: Result): boolean {
  const bytes = ({ data }: Result['output']) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return (['output', 'lse', 'entropy', 'rowMax'] as const).every(
    (name) => a[name] === undefined || bytes(a[name]).equals(bytes(b[name]!)),
  );
}

function wrongIn({ test, expected }: Check, result: Result): string | null {
  return differences(test, expected, actualOf(test, result), rules)[0] ?? null;
}

function outcomeOf(checks: readonly Check[], device: number, right: readonly Result[]): Outcome {
  let differs = false;
  for (const [n, check] of checks.entries()) {
    let wrong: string | null = null;
    try {
      const result = compute(check, device);
      if (right[n] !== undefined && sameBits(result, right[n])) continue;
      differs = true;
      wrong = wrongIn(check, result);
    } catch (error) {
      wrong = (error as Error).message;
    }
    if (wrong !== null) return { device, wrong: `call ${n}: ${wrong}`, differs: true };
  }
  return { device, wrong: null, differs };
}

function main(kernel: string, devices: number): void {
  const checks = checksOf(kernel);
  const say = (outcome: Outcome) => process.stdout.write(`${JSON.stringify(outcome)}\n`);
  const first = outcomeOf(checks, 0, []);
  say({ ...first, differs: false });
  if (first.wrong !== null) return;
  const right = checks.map((check) => compute(check, 0));
  for (let device = 1; device < devices; device++) say(outcomeOf(checks, device, right));
}

main(process.argv[2]!, Number(process.argv[3]));
