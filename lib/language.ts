// The language of programs, loaded when the first one is made: reading it takes half as long as the rest of the package.

type Compile = typeof import('./program/compile.js');
type Combine = typeof import('./program/combine.js');

let loaded: (Compile & Combine) | undefined;

export function language(): Compile & Combine {
  return (loaded ??= {
    ...(require('./program/compile.js') as Compile),
    ...(require('./program/combine.js') as Combine),
  });
}
