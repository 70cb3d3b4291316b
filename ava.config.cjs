// Test files run in child processes: a native crash then fails one file instead of the whole run, and tests of the
// life cycle can fork with their own flags.
module.exports = {
  files: [
    'test/**/*.ts',
    '!test/types/**',
    '!test/package/**',
    '!test/reference/**',
    '!test/helpers/**',
    '!test/methods/**',
    '!test/mpi/**',
    '!test/cuda/**',
    '!test/mutants/**',
    '!test/toolchain/**',
    '!test/fuzz/**',
    '!test/groups/**',
  ],
  extensions: { ts: 'commonjs' },
  nodeArguments: ['--require=tsx/cjs'],
  workerThreads: false,
  timeout: '10m',
};
