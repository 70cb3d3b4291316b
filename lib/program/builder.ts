// Makes nodes in canonical form: whatever spelling a program came in, equal operations become one node, and its
// operands stand in one order.

import { equalBooleans, all, any, chooseBoolean, not, turned } from './booleans.js';
import { operate } from './arithmetic.js';
import { combineBits } from './bits.js';
import type { Op, ValueType } from './graph.js';
import { Nodes } from './nodes.js';
import type { Id } from './nodes.js';

/**
 * What functions are made of; a choice between two calls that differ in one operand is one call, as compilers write it.
 * They are not simplified, so that it does not matter which of the two was written.
 */
const called: ReadonlySet<Op> = new Set<Op>([
  ...(['table', 'min', 'max', 'abs', 'sign', 'toReal', 'floor', 'ceil', 'trunc', 'exp'] as const),
  ...(['log', 'log2', 'sqrt', 'tanh', 'sin', 'cos', 'pow'] as const),
]);

export class Builder {
  readonly nodes = new Nodes();

  not(a: Id): Id {
    return not(this.nodes, a);
  }

  all(conditions: readonly Id[]): Id {
    return all(this.nodes, conditions);
  }

  any(conditions: readonly Id[]): Id {
    return any(this.nodes, conditions);
  }

  /** `condition ? a : b`, of one type. */
  select(condition: Id, a: Id, b: Id): Id {
    const { nodes } = this;
    if (nodes.type(a) === 'boolean') return chooseBoolean(nodes, condition, a, b);
    if (a === b || condition === nodes.true) return a;
    if (condition === nodes.false) return b;
    return nodes.memo(`select ${condition} ${a} ${b}`, () => {
      const call = this.#selectOperand(condition, a, b);
      return call ?? turned(nodes, condition, this.not(condition), a, b, (c, x, y) => this.select(c, x, y));
    });
  }

  /** `lt`, `le`, `eq` or `ne` of two operands of one type; booleans for the last two only. */
  compare(op: 'lt' | 'le' | 'eq' | 'ne', a: Id, b: Id): Id {
    const { nodes } = this;
    if (op === 'ne') return this.not(this.compare('eq', a, b));
    const type = nodes.type(a);
    if (type === 'boolean') return equalBooleans(nodes, a, b);
    const [x, y] = [nodes.constantOf(a), nodes.constantOf(b)];
    if (x !== undefined && y !== undefined) return nodes.boolean(op === 'lt' ? x < y : op === 'le' ? x <= y : x === y);
    if (a === b && (op === 'lt' || type === 'integer')) return nodes.boolean(op !== 'lt');
    // A choice between two constants, compared with a third, is its condition.
    const [first, second] = [nodes.at(a), nodes.at(b)];
    if (y !== undefined && this.#isConstantChoice(a)) {
      const [c, p, q] = first.args as [Id, Id, Id];
      return chooseBoolean(nodes, c, this.compare(op, p, b), this.compare(op, q, b));
    }
    if (x !== undefined && this.#isConstantChoice(b)) {
      const [c, p, q] = second.args as [Id, Id, Id];
      return chooseBoolean(nodes, c, this.compare(op, a, p), this.compare(op, a, q));
    }
    return nodes.intern(op, 'boolean', op === 'eq' ? nodes.sorted([a, b]) : [a, b]);
  }

  /** Any operation, by its operands; `value` and `label` of leaves and tables only. */
  apply(op: Op, type: ValueType, args: readonly Id[], value = 0, label = ''): Id {
    const { nodes } = this;
    const [a, b, c] = args as [Id, Id, Id];
    switch (op) {
      case 'lnot':
        return this.not(a);
      case 'land':
        return this.all(args);
      case 'lor':
        return this.any(args);
      case 'bitAnd':
      case 'bitOr':
      case 'bitXor':
        return combineBits(this.nodes, op, args);
      case 'select':
        return this.select(a, b, c);
      case 'lt':
      case 'le':
      case 'eq':
      case 'ne':
        return this.compare(op, a, b);
      default:
    }
    // Signs go outwards, as far as the product that they belong to.
    if (op === 'toReal' && nodes.at(a).op === 'neg') {
      return operate(nodes, 'neg', this.apply(op, type, nodes.at(a).args));
    }
    if (args.length === 0 || called.has(op)) {
      const operands = op === 'min' || op === 'max' ? nodes.sorted(args) : args;
      return nodes.intern(op, type, operands, value, label);
    }
    return operate(nodes, op, a, b);
  }

  #isConstantChoice(id: Id): boolean {
    const { op, args } = this.nodes.at(id);
    return op === 'select' && args.slice(1).every((branch) => this.nodes.constantOf(branch) !== undefined);
  }

  /** `c ? f(x, r) : f(y, r)` as `f(c ? x : y, r)`; undefined where that is not what it is. */
  #selectOperand(condition: Id, a: Id, b: Id): Id | undefined {
    const [first, second] = [this.nodes.at(a), this.nodes.at(b)];
    const { op, type, args, value, label } = first;
    if (op !== second.op || !called.has(op) || value !== second.value || label !== second.label) return undefined;
    if (args.length !== second.args.length) return undefined;
    if (op === 'min' || op === 'max') {
      const common = args.find((argument) => second.args.includes(argument));
      if (common === undefined) return undefined;
      const [x, y] = [otherOf(args, common), otherOf(second.args, common)];
      return this.apply(op, type, [common, this.select(condition, x, y)]);
    }
    const different = args.flatMap((argument, index) => (argument === second.args[index] ? [] : [index]));
    const [at] = different;
    if (different.length !== 1 || at === undefined) return undefined;
    if (this.nodes.type(args[at]!) !== this.nodes.type(second.args[at]!)) return undefined;
    const chosen = this.select(condition, args[at]!, second.args[at]!);
    const operands = args.map((argument, index) => (index === at ? chosen : argument));
    return this.apply(op, type, operands, value, label);
  }
}

function otherOf(args: readonly Id[], one: Id): Id {
  return args[0] === one ? args[1]! : args[0]!;
}
