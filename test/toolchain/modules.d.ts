// Tools that come without types.

declare module 'amaro' {
  export function transformSync(code: string, options: { mode: 'strip-only' | 'transform' }): { code: string };
}

declare module 'istanbul-lib-instrument' {
  export function createInstrumenter(options: { esModules: boolean }): {
    instrumentSync(code: string, filename: string): string;
  };
}
