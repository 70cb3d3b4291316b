// What is done to scores: bias of every broadcast, softcap, sinks, scale, against the float64 reference.

import { testGrid } from './reference/verify.js';

testGrid('scores');
