// What the classes of this package have besides what their public types say.

/**
 * Gives a class its name, which bundling takes away, its `toString` as what `util.inspect` shows, and `dispose` under
 * `Symbol.dispose` where the runtime has it: public types leave that out, as their library may not know it.
 */
export function face(made: { readonly prototype: object }, name: string, dispose?: () => void): void {
  const { prototype } = made;
  Object.defineProperty(made, 'name', { value: name, configurable: true });
  const inspect = Symbol.for('nodejs.util.inspect.custom');
  Object.defineProperty(prototype, inspect, { value: prototype.toString, configurable: true });
  const symbol = (Symbol as { dispose?: symbol }).dispose;
  if (symbol && dispose) Object.defineProperty(prototype, symbol, { value: dispose, configurable: true });
}
