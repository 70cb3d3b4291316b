// The language of programs as the rest of the package takes it.

export * from './combine.js';
export * from './compile.js';
export * from './relocate.js';
