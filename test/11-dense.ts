// Dense attention: shapes, heads, causal, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('dense');
