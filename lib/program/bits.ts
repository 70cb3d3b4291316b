// Bitwise operators in normal form, as booleans.ts has it for conditions: complements at the leaves of & and |, in front
// of ^; operands flat and sorted, so that it does not matter how a minifier regroups them.

import type { Id, Nodes } from './nodes.js';

export type BitOp = 'bitAnd' | 'bitOr' | 'bitXor';

/** `~a` */
export function complement(nodes: Nodes, a: Id): Id {
  return nodes.memo(`complement ${a}`, () => {
    const { op, args, value } = nodes.at(a);
    if (op === 'constant') return nodes.constant('integer', ~value);
    if (op === 'bitNot') return args[0]!;
    if (op === 'bitAnd' || op === 'bitOr') {
      const other = op === 'bitAnd' ? 'bitOr' : 'bitAnd';
      return combineBits(
        nodes,
        other,
        args.map((argument) => complement(nodes, argument)),
      );
    }
    return nodes.intern('bitNot', 'integer', [a]);
  });
}

/** `&`, `|` or `^` of any number of integers. */
export function combineBits(nodes: Nodes, op: BitOp, operands: readonly Id[]): Id {
  const flat = operands.flatMap((operand) => (nodes.at(operand).op === op ? nodes.at(operand).args : [operand]));
  nodes.spend(flat.length);
  return op === 'bitXor' ? exclusive(nodes, flat) : inclusive(nodes, op, flat);
}

function inclusive(nodes: Nodes, op: 'bitAnd' | 'bitOr', operands: readonly Id[]): Id {
  const neutral = op === 'bitAnd' ? -1 : 0;
  let constant = neutral;
  const members = new Set<Id>();
  for (const operand of operands) {
    const value = nodes.constantOf(operand);
    if (value === undefined) members.add(operand);
    else constant = op === 'bitAnd' ? constant & value : constant | value;
  }
  if (constant === ~neutral || members.size === 0) return nodes.constant('integer', constant);
  if (constant !== neutral) members.add(nodes.constant('integer', constant));
  return join(nodes, op, members);
}

function exclusive(nodes: Nodes, operands: readonly Id[]): Id {
  let constant = 0;
  const members = new Set<Id>();
  const toggle = (operand: Id): void => {
    const { op, args, value } = nodes.at(operand);
    if (op === 'constant') constant ^= value;
    else if (op === 'bitNot') {
      constant = ~constant;
      for (const inner of nodes.at(args[0]!).op === 'bitXor' ? nodes.at(args[0]!).args : args) toggle(inner);
    } else if (!members.delete(operand)) members.add(operand);
  };
  for (const operand of operands) toggle(operand);
  // ^ -1 is ~; of a constant and its complement the one that is not negative stays inside.
  const inverted = constant < 0;
  if (inverted) constant = ~constant;
  if (members.size === 0) return nodes.constant('integer', inverted ? ~constant : constant);
  if (constant !== 0) members.add(nodes.constant('integer', constant));
  const joined = join(nodes, 'bitXor', members);
  return inverted ? complement(nodes, joined) : joined;
}

function join(nodes: Nodes, op: BitOp, members: ReadonlySet<Id>): Id {
  const sorted = nodes.sorted(members);
  return sorted.length === 1 ? sorted[0]! : nodes.intern(op, 'integer', sorted);
}
