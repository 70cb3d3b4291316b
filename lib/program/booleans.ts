// Booleans in normal form: negations at the leaves, `land` and `lor` flat, sorted and without repetition, so that the
// spellings that compilers exchange for one another become one graph.

import type { Id, Nodes } from './nodes.js';

/** Negation, pushed inwards. `!(a < b)` turns around for integers only: reals may be NaN. */
export function not(nodes: Nodes, a: Id): Id {
  return nodes.memo(`not ${a}`, () => {
    const { op, args, value } = nodes.at(a);
    switch (op) {
      case 'constant':
        return nodes.boolean(value === 0);
      case 'lnot':
        return args[0]!;
      case 'land':
        return any(
          nodes,
          args.map((argument) => not(nodes, argument)),
        );
      case 'lor':
        return all(
          nodes,
          args.map((argument) => not(nodes, argument)),
        );
      case 'eq':
        return nodes.intern('ne', 'boolean', args);
      case 'ne':
        return nodes.intern('eq', 'boolean', args);
      case 'select':
        return chooseBoolean(nodes, args[0]!, not(nodes, args[1]!), not(nodes, args[2]!));
      case 'lt':
      case 'le': {
        if (nodes.type(args[0]!) === 'real') break;
        return nodes.intern(op === 'lt' ? 'le' : 'lt', 'boolean', [args[1]!, args[0]!]);
      }
      default:
    }
    return nodes.intern('lnot', 'boolean', [a]);
  });
}

export function all(nodes: Nodes, conditions: readonly Id[]): Id {
  return junction(nodes, 'land', conditions, nodes.true, nodes.false);
}

export function any(nodes: Nodes, conditions: readonly Id[]): Id {
  return junction(nodes, 'lor', conditions, nodes.false, nodes.true);
}

function junction(nodes: Nodes, op: 'land' | 'lor', conditions: readonly Id[], neutral: Id, absorbing: Id): Id {
  const members = new Set<Id>();
  for (const condition of conditions) {
    for (const member of partsOf(nodes, op, condition)) if (member !== neutral) members.add(member);
  }
  nodes.spend(members.size);
  if (members.has(absorbing)) return absorbing;
  for (const member of members) if (members.has(not(nodes, member))) return absorbing;
  if (members.size === 0) return neutral;
  for (const member of members) {
    const without = reduced(nodes, op, member, members);
    if (without === undefined) continue;
    members.delete(member);
    return junction(nodes, op, [...members, without], neutral, absorbing);
  }
  const sorted = nodes.sorted(members);
  return sorted.length === 1 ? sorted[0]! : nodes.intern(op, 'boolean', sorted);
}

/** `b || c` beside `b`, where it changes nothing, or beside `!b`, where it is `c`; undefined where it stays. */
function reduced(nodes: Nodes, op: 'land' | 'lor', member: Id, members: ReadonlySet<Id>): Id | undefined {
  const other = op === 'land' ? 'lor' : 'land';
  if (nodes.at(member).op !== other) return undefined;
  const parts = partsOf(nodes, other, member);
  if (parts.some((part) => members.has(part))) return nodes.boolean(op === 'land');
  const rest = parts.filter((part) => !members.has(not(nodes, part)));
  if (rest.length === parts.length) return undefined;
  return other === 'lor' ? any(nodes, rest) : all(nodes, rest);
}

function partsOf(nodes: Nodes, op: 'land' | 'lor', id: Id): readonly Id[] {
  const entry = nodes.at(id);
  return entry.op === op ? entry.args : [id];
}

/** `condition ? a : b` of booleans. */
export function chooseBoolean(nodes: Nodes, condition: Id, a: Id, b: Id): Id {
  if (a === b || condition === nodes.true) return a;
  if (condition === nodes.false) return b;
  const opposite = not(nodes, condition);
  // In a branch its condition is known.
  const [knownA, knownB] = [assume(nodes, a, condition), assume(nodes, b, opposite)];
  if (knownA !== a || knownB !== b) return chooseBoolean(nodes, condition, knownA, knownB);
  if (a === nodes.true) return any(nodes, [condition, b]);
  if (a === nodes.false) return all(nodes, [opposite, b]);
  if (b === nodes.true) return any(nodes, [opposite, a]);
  if (b === nodes.false) return all(nodes, [condition, a]);
  if (a === not(nodes, b)) return equalBooleans(nodes, condition, a);
  return (
    shared(nodes, opposite, a, b) ??
    shared(nodes, condition, b, a) ??
    turned(nodes, condition, opposite, a, b, (c, x, y) => chooseBoolean(nodes, c, x, y))
  );
}

/** A boolean where another one, or a member of it, is known to hold. */
function assume(nodes: Nodes, id: Id, condition: Id): Id {
  const facts = new Set([condition, ...partsOf(nodes, 'land', condition)]);
  if (facts.has(id)) return nodes.true;
  return facts.has(not(nodes, id)) ? nodes.false : id;
}

/** `c ? (b && r) : b` is `b && (!c || r)`, and `c ? (b || r) : b` is `b || (c && r)`; `opposite` is !c. */
function shared(nodes: Nodes, opposite: Id, a: Id, b: Id): Id | undefined {
  const { op } = nodes.at(a);
  if (op !== 'land' && op !== 'lor') return undefined;
  const inner = new Set(partsOf(nodes, op, b));
  const rest = nodes.at(a).args.filter((member) => !inner.delete(member));
  if (inner.size > 0) return undefined;
  if (op === 'land') return all(nodes, [b, any(nodes, [opposite, all(nodes, rest)])]);
  return any(nodes, [b, all(nodes, [not(nodes, opposite), any(nodes, rest)])]);
}

/** `a === b` of booleans. */
export function equalBooleans(nodes: Nodes, a: Id, b: Id): Id {
  if (a === b) return nodes.true;
  const [notA, notB] = [not(nodes, a), not(nodes, b)];
  if (a === notB) return nodes.false;
  for (const [x, y, notY] of [
    [a, b, notB],
    [b, a, notA],
  ] as const) {
    if (x === nodes.true) return y;
    if (x === nodes.false) return notY;
  }
  const [turnA, turnB] = [nodes.compare(notA, a) < 0, nodes.compare(notB, b) < 0];
  const operands = nodes.sorted([turnA ? notA : a, turnB ? notB : b]);
  return nodes.intern(turnA === turnB ? 'eq' : 'ne', 'boolean', operands);
}

/**
 * `condition ? a : b` of any type, one of its two senses, with conditions of nested choices drawn together where they
 * share a branch: `p ? x : q ? x : y` is `p || q ? x : y`.
 */
export function turned(
  nodes: Nodes,
  condition: Id,
  opposite: Id,
  a: Id,
  b: Id,
  again: (condition: Id, a: Id, b: Id) => Id,
): Id {
  const swap = nodes.compare(opposite, condition) < 0;
  const [c, notC, x, y] = swap ? [opposite, condition, b, a] : [condition, opposite, a, b];
  const [first, second] = [nodes.at(x), nodes.at(y)];
  if (second.op === 'select') {
    const [inner, p, q] = second.args as [Id, Id, Id];
    if (p === x) return again(any(nodes, [c, inner]), x, q);
    if (q === x) return again(any(nodes, [c, not(nodes, inner)]), x, p);
  }
  if (first.op === 'select') {
    const [inner, p, q] = first.args as [Id, Id, Id];
    if (p === y) return again(any(nodes, [notC, inner]), y, q);
    if (q === y) return again(any(nodes, [notC, not(nodes, inner)]), y, p);
  }
  return nodes.intern('select', nodes.type(x), [c, x, y]);
}
