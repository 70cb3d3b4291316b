// Prints how many milliseconds it takes to require the package and to load the addon.
'use strict';

const start = performance.now();
require('fused-attention').devices();
console.log(performance.now() - start);
