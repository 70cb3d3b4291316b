// Names of a program and what they stand for at the moment. Blocks have their own names; values change when something
// is assigned, and are kept and put back where paths part.

import { unusable } from './values.js';
import type { Value } from './values.js';

interface Binding {
  readonly slot: number;
  readonly constant: boolean;
}

export class Scope {
  readonly #bindings = new Map<string, Binding>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  find(name: string): Binding | undefined {
    return this.#bindings.get(name) ?? this.#outer?.find(name);
  }

  has(name: string): boolean {
    return this.#bindings.has(name);
  }

  declare(name: string, slot: number, constant: boolean): void {
    this.#bindings.set(name, { slot, constant });
  }
}

/** What a name stands for between the start of its block and its declaration. */
export const notYet = unusable('a name before its declaration');
export const unassigned = unusable('a variable that may not have a value yet');

/** Values of all names, by slot. */
export class Values {
  #slots: Value[] = [];
  /** Counts assignments: equal counts, equal values. */
  #changes = 0;

  add(value: Value): number {
    return this.#slots.push(value) - 1;
  }

  get(slot: number): Value {
    return this.#slots[slot]!;
  }

  set(slot: number, value: Value): void {
    this.#slots[slot] = value;
    this.#changes += 1;
  }

  get changes(): number {
    return this.#changes;
  }

  keep(): Value[] {
    return [...this.#slots];
  }

  putBack(kept: readonly Value[]): void {
    this.#slots = [...kept];
    this.#changes += 1;
  }

  /** Where two paths meet again. Names beyond the first `count`, which the paths brought, are out of reach. */
  merge(a: readonly Value[], b: readonly Value[], count: number, meet: (a: Value, b: Value) => Value): void {
    this.#slots = a.slice(0, count).map((value, slot) => (value === b[slot] ? value : meet(value, b[slot]!)));
    this.#changes += 1;
  }
}
