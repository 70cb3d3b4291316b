// Prints how many milliseconds it takes to import the package and to load the addon.
const start = performance.now();
(await import('fused-attention')).devices();
console.log(performance.now() - start);
