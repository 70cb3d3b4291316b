// Counters that coverage tools (istanbul) put into functions: `cov_1a2b().s[3]++`, whose name a minifier may shorten.
// They count and change nothing.

import type { Node } from 'acorn';

/** Whether an expression is such a counter, of a name that `isBound` does not know. */
export function isCounter(node: Node, isBound: (name: string) => boolean): boolean {
  const update = node as Node & Record<string, unknown>;
  if (update.type !== 'UpdateExpression' || update['operator'] !== '++') return false;
  let member = update['argument'] as Any;
  let indices = 0;
  while (member.type === 'MemberExpression' && member['computed'] === true && isIndex(member['property'] as Any)) {
    member = member['object'] as Any;
    indices += 1;
  }
  if (indices < 1 || indices > 2 || member.type !== 'MemberExpression' || member['computed'] === true) return false;
  if (!['s', 'f', 'b'].includes((member['property'] as Any)['name'] as string)) return false;
  let root = member['object'] as Any;
  const called = root.type === 'CallExpression' && (root['arguments'] as unknown[]).length === 0;
  if (called) root = root['callee'] as Any;
  const name = root['name'];
  if (root.type !== 'Identifier' || typeof name !== 'string') return false;
  return (called || name.startsWith('cov_')) && !isBound(name);
}

type Any = Node & Record<string, unknown>;

function isIndex(node: Any): boolean {
  return node.type === 'Literal' && typeof node['value'] === 'number';
}
