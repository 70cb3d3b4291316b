// Prints how many milliseconds it takes to import or require the package and to load the addon.
'use strict';

const start = performance.now();
const load = process.argv[2] === 'import' ? import('fused-attention') : Promise.resolve(require('fused-attention'));
load.then(({ devices }) => {
  devices();
  console.log(performance.now() - start);
});
