// Bands, key padding and mask grids, alone and together, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('masks');
