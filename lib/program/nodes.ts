// The store of nodes while a graph is made: equal nodes are one, and all have an order that depends on what they are,
// not on when they were made. `land`, `lor`, `bitAnd`, `bitOr` and `bitXor` take any number of operands here; emit.ts
// makes pairs of them.

import { wholeProblem } from './problem.js';
import { ops, valueTypes } from './graph.js';
import type { Op, ValueType } from './graph.js';

/** Index of a node in its store. */
export type Id = number;

export interface Entry {
  readonly op: Op;
  readonly type: ValueType;
  readonly args: readonly Id[];
  /** Of a constant its value, in combined programs of parameters, tables and grids their index; else 0. */
  readonly value: number;
  /** Name of a parameter or table. */
  readonly label: string;
  /** How many table reads hang on one another: guards come before what they guard. */
  readonly reads: number;
  readonly hash: number;
}

/** Nodes and operands that one program may cost: bounds the time that a hostile one takes. */
const mostWork = 40_000;

export class Nodes {
  readonly #entries: Entry[] = [];
  readonly #found = new Map<string, Id>();
  readonly #memo = new Map<string, Id>();
  #work = 0;

  readonly true = this.intern('constant', 'boolean', [], 1);
  readonly false = this.intern('constant', 'boolean', [], 0);

  at(id: Id): Entry {
    return this.#entries[id]!;
  }

  type(id: Id): ValueType {
    return this.at(id).type;
  }

  intern(op: Op, type: ValueType, args: readonly Id[] = [], value = 0, label = ''): Id {
    const operands = args.length > 3 ? args.join(',') : `${args[0] ?? ''},${args[1] ?? ''},${args[2] ?? ''}`;
    const key = `${ops[op]} ${valueTypes[type]} ${operands} ${Object.is(value, -0) ? '-0' : value} ${label}`;
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    this.spend(1 + args.length);
    const id = this.#entries.length;
    let reads = 0;
    for (const argument of args) reads = Math.max(reads, this.at(argument).reads);
    if (op === 'table') reads += 1;
    this.#entries.push({ op, type, args, value, label, reads, hash: this.#hash(op, type, args, value, label) });
    this.#found.set(key, id);
    return id;
  }

  constant(type: ValueType, value: number): Id {
    return this.intern('constant', type, [], type === 'real' ? Math.fround(value) : value + 0);
  }

  boolean(value: boolean): Id {
    return value ? this.true : this.false;
  }

  /** A constant's value; undefined of other nodes. */
  constantOf(id: Id): number | undefined {
    const entry = this.at(id);
    return entry.op === 'constant' ? entry.value : undefined;
  }

  /** The result of `make` for this key, made once. */
  memo(key: string, make: () => Id): Id {
    const known = this.#memo.get(key);
    if (known !== undefined) return known;
    this.spend(1);
    const made = make();
    this.#memo.set(key, made);
    return made;
  }

  spend(work: number): void {
    this.#work += work;
    if (this.#work > mostWork) throw wholeProblem('more', 'a program of fewer operations');
  }

  /** Negative if `a` comes first in canonical order. Constants come last. 0 only for the same node. */
  compare(a: Id, b: Id): number {
    let [left, right] = [a, b];
    while (left !== right) {
      const [x, y] = [this.at(left), this.at(right)];
      const difference = compareAlone(x, y);
      if (difference !== 0) return difference;
      const at = x.args.findIndex((argument, index) => argument !== y.args[index]);
      [left, right] = [x.args[at]!, y.args[at]!];
    }
    return 0;
  }

  sorted(ids: Iterable<Id>): Id[] {
    return [...ids].sort((a, b) => this.compare(a, b));
  }

  #hash(op: Op, type: ValueType, args: readonly Id[], value: number, label: string): number {
    let hash = mix(mix(0x9e3779b9, ops[op]), valueTypes[type]);
    scratch[0] = value;
    hash = mix(mix(hash, scratchBits[0]!), scratchBits[1]!);
    for (let index = 0; index < label.length; index += 1) hash = mix(hash, label.charCodeAt(index));
    for (const argument of args) hash = mix(hash, this.at(argument).hash);
    return hash;
  }
}

function compareAlone(x: Entry, y: Entry): number {
  if (x.op !== y.op) {
    const constant = (x.op === 'constant' ? 1 : 0) - (y.op === 'constant' ? 1 : 0);
    return constant || x.reads - y.reads || ops[x.op] - ops[y.op];
  }
  if (x.reads !== y.reads) return x.reads - y.reads;
  if (x.type !== y.type) return valueTypes[x.type] - valueTypes[y.type];
  if (x.label !== y.label) return x.label < y.label ? -1 : 1;
  if (!Object.is(x.value, y.value)) return compareNumbers(x.value, y.value);
  return x.hash - y.hash || x.args.length - y.args.length;
}

/** A total order: NaN first, -0 before 0. */
function compareNumbers(x: number, y: number): number {
  if (Number.isNaN(x)) return -1;
  if (Number.isNaN(y)) return 1;
  return x - y || (Object.is(x, -0) ? -1 : 1);
}

const scratch = new Float64Array(1);
const scratchBits = new Int32Array(scratch.buffer);

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x85ebca6b);
  return Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) ^ (mixed >>> 16);
}
