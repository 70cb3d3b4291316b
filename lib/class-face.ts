// What the classes of this package have besides what their public types say. In JavaScript nothing else keeps a private
// constructor from being called, or a method from being called on another object.

import { AttentionError, invalidType } from './errors.js';

/** What a private constructor is called with: nobody but this package has it. */
export const ours = Symbol('fused-attention');

/** Refuses what did not come from this package. `makers` says what makes such an object. */
export function checkMaker(token: unknown, name: string, makers: string): void {
  if (token === ours) return;
  throw new AttentionError('ERR_INVALID_ARG_VALUE', `new ${name}`, `a call of ${makers}`, 'one of the constructor');
}

type IsOne = (value: object) => boolean;

/**
 * Gives a class its name, which bundling takes away, its `toString` as what `util.inspect` shows, and the method
 * `disposal` under `Symbol.dispose` where the runtime has it: public types leave that out, as their library may not know
 * it. Methods and getters refuse what `isOne` does not say is of the class.
 */
export function face(made: { readonly prototype: object }, name: string, isOne: IsOne, disposal?: string): void {
  const prototype = made.prototype as { [key: string | symbol]: unknown };
  Object.defineProperty(made, 'name', { value: name, configurable: true });
  for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (key === 'constructor') continue;
    if (typeof property.value === 'function') property.value = calledOn(isOne, name, property.value as Method);
    if (property.get) property.get = calledOn(isOne, name, property.get as Method) as () => unknown;
    Object.defineProperty(prototype, key, property);
  }
  const inspect = Symbol.for('nodejs.util.inspect.custom');
  Object.defineProperty(prototype, inspect, { value: prototype['toString'], configurable: true });
  const symbol = (Symbol as { dispose?: symbol }).dispose;
  if (symbol && disposal) Object.defineProperty(prototype, symbol, { value: prototype[disposal], configurable: true });
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const AsyncFunction = (async () => undefined).constructor;

function calledOn(isOne: IsOne, name: string, method: Method): Method {
  function checked(this: unknown, ...args: unknown[]): unknown {
    if (typeof this === 'object' && this !== null && isOne(this)) return method.apply(this, args);
    const error = invalidType('this', `a ${name}, whose method this is`, this);
    if (method instanceof AsyncFunction) return Promise.reject(error);
    throw error;
  }
  Object.defineProperty(checked, 'name', { value: method.name, configurable: true });
  Object.defineProperty(checked, 'length', { value: method.length, configurable: true });
  return checked;
}
