// The pages of docs/methods and their formulas.

import type { Methods } from './method.js';
import { patterns } from './patterns.js';
import { positions } from './positions.js';
import { sharing } from './sharing.js';
import { weights } from './weights.js';

export const pages: Readonly<Record<string, Methods>> = {
  'patterns.md': patterns,
  'positions.md': positions,
  'sharing.md': sharing,
  'weights.md': weights,
};
