// Tests of the packed tarball, apart from `npm test` because they pack and install: npx ava --config ava.package.config.cjs
const base = require('./ava.config.cjs');

module.exports = { ...base, files: ['test/package/*.test.ts'], concurrency: 1 };
