// Few queries over many keys, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('decode');
