// Element types and their mixtures, output types, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('types');
