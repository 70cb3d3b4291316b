// Prints the texts of the programs that a module exports, as the functions themselves have them:
//   node texts.mjs <module>
import { pathToFileURL } from 'node:url';

const module = await import(pathToFileURL(process.argv[2]).href);
const programs = module.programs ?? module.default.programs;
const texts = Object.entries(programs).map(([name, { program }]) => [name, Function.prototype.toString.call(program)]);
process.stdout.write(JSON.stringify(Object.fromEntries(texts)));
