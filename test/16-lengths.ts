// Ragged and padded batches, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('lengths');
