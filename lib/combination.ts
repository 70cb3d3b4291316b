// Parameters of combined programs: which part takes a new value.

import { invalidType, invalidValue } from './errors.js';
import type { ProgramParameter, ProgramParameters } from './parameters.js';
import { reading, readProperty } from './snapshot.js';

/**
 * The parts of a combination, with new values for the parameters named. Each name has to be that of one parameter of one
 * part: `count` says how many a part has, `replace` gives it the new value.
 */
export function replaceInParts<Part>(
  parts: readonly Part[],
  parameters: ProgramParameters,
  count: (part: Part, name: string) => number,
  replace: (part: Part, changes: ProgramParameters) => Part,
): readonly Part[] {
  if (typeof parameters !== 'object' || parameters === null) throw invalidType('parameters', 'an object', parameters);
  let changed = parts;
  for (const name of reading('parameters', () => Object.keys(parameters))) {
    const counts = changed.map((part) => count(part, name));
    const all = counts.reduce((sum, one) => sum + one, 0);
    if (all !== 1) {
      const received = all === 0 ? 'a name that no part has' : 'one that several parts have';
      throw invalidValue(`parameters.${name}`, 'the name of a parameter of one part', received);
    }
    const holder = counts.indexOf(1);
    const value = readProperty('parameters', parameters, name) as ProgramParameter;
    changed = changed.map((part, index) => (index === holder ? replace(part, { [name]: value }) : part));
  }
  return changed;
}
