// Tests that need what not every machine has. Where it is missing they are skipped and say why; where the environment
// variable of that name is set, they fail.

import test from 'ava';
import type { ExecutionContext } from 'ava';

type Body = (t: ExecutionContext) => void | Promise<void>;
type Declare = (title: string, body: Body) => void;

/** Declares tests that need something, which is missing for the reason given. */
export function needing(missing: string | null, required: string, declare: Declare = test): Declare {
  if (missing === null) return declare;
  if (process.env[required]) return (title) => test(title, (t) => t.fail(missing));
  return (title, body) => test.skip(`${title}: ${missing}`, body);
}
