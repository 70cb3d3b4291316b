// The language of programs, loaded when the first one is made: reading it takes half as long as the rest of the package.

type Language = typeof import('./program/index.js');

let loaded: Language | undefined;

export function language(): Language {
  return (loaded ??= require('./program/index.js') as Language);
}
