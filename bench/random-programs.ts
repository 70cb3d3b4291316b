// Score programs chosen at test time: one to four steps of the kinds that the literature's biases, caps and gates are made
// of, in random order with random numbers and tables. The same seed gives the same programs.
import { Random } from '../test/reference/random.js';
import type { ScoreProgram } from './score-program.js';

type Value = ScoreProgram['apply'];

interface Writer {
  random: Random;
  /** What the steps so far make of the score. */
  text: string;
  value: Value;
  parameters: Record<string, number | readonly number[]>;
  fields: Set<string>;
}

const quarters = (random: Random, low: number, high: number): number => random.integer(4 * low, 4 * high) / 4;

/** The name of a new parameter, and its value as the library sees it: a float32. */
function number(writer: Writer, value: number): { name: string; value: number } {
  const name = `n${Object.keys(writer.parameters).length}`;
  writer.parameters[name] = value;
  return { name, value: Math.fround(value) };
}

function table(writer: Writer, length: number): { name: string; values: readonly number[] } {
  const name = `t${Object.keys(writer.parameters).length}`;
  const values = Array.from({ length }, () => Math.fround(writer.random.normal()));
  writer.parameters[name] = values;
  return { name, values };
}

const distance = 'Math.abs(i - j)';

const STEPS: Record<string, (writer: Writer, rows: number) => { text: string; value: Value }> = {
  temperature(writer) {
    const { text, value: e } = writer;
    const a = number(writer, quarters(writer.random, 1, 5) / 4);
    return { text: `(${text}) * ${a.name}`, value: (...at) => e(...at) * a.value };
  },
  'linear distance'(writer) {
    const { text, value: e } = writer;
    const a = number(writer, 2 ** -writer.random.integer(3, 7));
    return {
      text: `${text} - ${a.name} * ${distance}`,
      value: (s, i, j, h) => e(s, i, j, h) - a.value * Math.abs(i - j),
    };
  },
  'logarithmic distance'(writer) {
    const { text, value: e } = writer;
    const a = number(writer, quarters(writer.random, 1, 4));
    return {
      text: `${text} - ${a.name} * Math.log(1 + ${distance})`,
      value: (s, i, j, h) => e(s, i, j, h) - a.value * Math.log(1 + Math.abs(i - j)),
    };
  },
  'soft cap'(writer) {
    const { text, value: e } = writer;
    const cap = number(writer, writer.random.integer(2, 30));
    return {
      text: `${cap.name} * Math.tanh((${text}) / ${cap.name})`,
      value: (...at) => cap.value * Math.tanh(e(...at) / cap.value),
    };
  },
  leak(writer) {
    const { text, value: e } = writer;
    const a = number(writer, quarters(writer.random, 0, 3) / 4);
    return {
      text: `(${text}) > 0 ? (${text}) : ${a.name} * (${text})`,
      value: (...at) => (e(...at) > 0 ? e(...at) : a.value * e(...at)),
    };
  },
  clamp(writer) {
    const { text, value: e } = writer;
    const most = number(writer, writer.random.integer(2, 8));
    return {
      text: `Math.max(-${most.name}, Math.min(${most.name}, ${text}))`,
      value: (...at) => Math.max(-most.value, Math.min(most.value, e(...at))),
    };
  },
  'root of the square'(writer) {
    const { text, value: e } = writer;
    const one = number(writer, 1);
    return {
      text: `Math.sqrt(${one.name} + (${text}) * (${text}))`,
      value: (...at) => Math.sqrt(one.value + e(...at) ** 2),
    };
  },
  'table of distances'(writer) {
    const { text, value: e } = writer;
    const last = 2 ** writer.random.integer(4, 7) - 1;
    const t = table(writer, last + 1);
    return {
      text: `${text} + ${t.name}(Math.min(${last}, ${distance}))`,
      value: (s, i, j, h) => e(s, i, j, h) + t.values[Math.min(last, Math.abs(i - j))]!,
    };
  },
  'table of keys'(writer, rows) {
    const { text, value: e } = writer;
    const t = table(writer, rows);
    return { text: `${text} + ${t.name}(j)`, value: (s, i, j, h) => e(s, i, j, h) + t.values[j]! };
  },
  'table of heads'(writer) {
    const { text, value: e } = writer;
    const t = table(writer, 8);
    writer.fields.add('h');
    return { text: `${text} + ${t.name}(h)`, value: (s, i, j, h) => e(s, i, j, h) + t.values[h]! };
  },
  'local gate'(writer) {
    const { text, value: e } = writer;
    const reach = writer.random.integer(16, 512);
    const a = number(writer, writer.random.integer(1, 4));
    return {
      text: `i - j < ${reach} ? (${text}) : (${text}) - ${a.name}`,
      value: (s, i, j, h) => (i - j < reach ? e(s, i, j, h) : e(s, i, j, h) - a.value),
    };
  },
  'decaying bonus'(writer) {
    const { text, value: e } = writer;
    const a = number(writer, writer.random.integer(1, 4));
    const rate = number(writer, 2 ** -writer.random.integer(2, 6));
    return {
      text: `${text} + ${a.name} * Math.exp(-${rate.name} * ${distance})`,
      value: (s, i, j, h) => e(s, i, j, h) + a.value * Math.exp(-rate.value * Math.abs(i - j)),
    };
  },
  parity(writer) {
    const { text, value: e } = writer;
    const every = writer.random.integer(2, 8);
    const a = number(writer, writer.random.integer(1, 4));
    return {
      text: `(i + j) % ${every} === 0 ? (${text}) : (${text}) - ${a.name}`,
      value: (s, i, j, h) => ((i + j) % every === 0 ? e(s, i, j, h) : e(s, i, j, h) - a.value),
    };
  },
};

function randomProgram(random: Random, rows: number, index: number): ScoreProgram {
  const writer: Writer = { random, text: 's', value: (s) => s, parameters: {}, fields: new Set() };
  const kinds = random.shuffle(Object.keys(STEPS)).slice(0, random.integer(1, 4));
  for (const kind of kinds) {
    const { text, value } = STEPS[kind]!(writer, rows);
    writer.text = `(${text})`;
    writer.value = value;
  }
  const names = [...writer.fields, ...Object.keys(writer.parameters)];
  const source = `(s, i, j${names.length > 0 ? `, { ${names.join(', ')} }` : ''}) => ${writer.text}`;
  return {
    name: `random ${index + 1}: ${kinds.join(', ')}`,
    source,
    parameters: writer.parameters,
    apply: writer.value,
  };
}

/** @param rows positions lie in [0, rows) */
export function randomPrograms(seed: number, count: number, rows: number): ScoreProgram[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, index) => randomProgram(random, rows, index));
}
