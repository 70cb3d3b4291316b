// A program's text, from a function or a string, and the limits that it keeps before it is parsed.

import { invalidType } from '../errors.js';
import { problem, wholeProblem } from './problem.js';

const mostCharacters = 20_000;
const mostTokens = 4000;
/** Brackets within brackets. */
const mostBrackets = 100;
/** Operators that nest to the right, as `a ? b : c ? d : e` and `!!!a` do, between two commas or semicolons. */
const mostNested = 200;

const giveText = 'a function whose text the engine knows; give the program as a string instead';

/** The text of a function, without calling it or reading its properties; or the string itself. */
export function sourceOf(program: unknown): string {
  if (typeof program !== 'function' && typeof program !== 'string') {
    throw invalidType('program', 'a function or a string', program);
  }
  return typeof program === 'string' ? program : textOf(program);
}

function textOf(program: object): string {
  const text: string = Function.prototype.toString.call(program);
  if (/\{\s*\[native code\]\s*\}\s*$/u.test(text)) {
    throw wholeProblem('a bound, proxied or native function, which has no text', giveText);
  }
  if (!/\w/u.test(text) || /^class\s*\{\s*\}$/u.test(text)) {
    throw wholeProblem('a function whose text was compiled away', giveText);
  }
  return text;
}

const nesting = new Set('? = => ** ! ~ - + typeof void delete new if else for while do with await yield'.split(' '));
/** What ends the operators that nest: the next operand starts anew. */
const separators = new Set([',', ';']);

/** Whitespace, comments, strings, words and numbers, and operators; enough of a scanner to bound what a parser does. */
const token =
  /\s+|\/\/[^\n\r\u2028\u2029]*|\/\*(?:[^]*?\*\/|[^]*)|"(?:[^"\\\n\r]|\\[^])*"?|'(?:[^'\\\n\r]|\\[^])*'?|[\w$\\\u0080-\uffff]+|=>|\*\*|[=!]==?|[<>]=|<!--|-->|[^]/uy;

/** Refuses what would cost a parser too much time, or more stack than there is. */
export function checkLimits(source: string): void {
  if (source.length > mostCharacters) {
    throw wholeProblem(`one of ${source.length}`, `a program of at most ${mostCharacters} characters`);
  }
  let tokens = 0;
  let nested = 0;
  const outer: number[] = [];
  token.lastIndex = 0;
  for (let match = token.exec(source); match !== null; match = token.exec(source)) {
    const [text] = match;
    const first = text.charCodeAt(0);
    if (first <= 32 || text.startsWith('//') || text.startsWith('/*')) continue;
    if (text === '`') throw problem(source, match.index, 'a template string', 'numbers and booleans only');
    if (text === '<!--' || text === '-->') {
      throw problem(source, match.index, `${text}, which is a comment in some files`, 'a space within the operators');
    }
    tokens += 1;
    if (tokens > mostTokens) throw problem(source, match.index, 'more', `a program of at most ${mostTokens} words`);
    if (text === '(' || text === '[' || text === '{') {
      outer.push(nested);
      nested = 0;
    } else if (text === ')' || text === ']' || text === '}') {
      nested = outer.pop() ?? 0;
    } else if (separators.has(text)) {
      nested = 0;
    } else if (nesting.has(text)) {
      nested += 1;
    }
    if (outer.length > mostBrackets || nested > mostNested) {
      throw problem(source, match.index, 'deeper nesting', 'a program that is nested less deeply');
    }
  }
}
