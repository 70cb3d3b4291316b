// Sizes of rows from 1 to 1024, many chunks of keys, and everything at once, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('dims');
testGrid('long');
testGrid('anything');
