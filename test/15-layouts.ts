// Layouts and views: offsets, strides, packed and shared memory, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('layouts');
