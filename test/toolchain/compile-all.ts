// Prints the graphs of all programs of this folder; run in a process of its own.

import { compileNamed, printed } from './kinds.js';
import { programs } from './programs.js';

let refused: string;
try {
  // oxlint-disable-next-line no-new-func
  refused = String(new Function('return 1')());
} catch (error) {
  refused = (error as Error).name;
}
const graphs = Object.entries(programs).map(([name, { program }]) => [name, printed(compileNamed(name, program))]);
process.stdout.write(JSON.stringify({ refused, graphs: Object.fromEntries(graphs) }));
