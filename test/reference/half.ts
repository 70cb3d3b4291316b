// Exact rounding to the library's number types and their bit patterns, written apart from lib/ and native/ so that the
// tests don't share their mistakes. Round to nearest, ties to even, straight from float64 (one rounding).

export type Dtype = 'float32' | 'float16' | 'bfloat16';

interface Format {
  /** Digits after the binary point. */
  fraction: number;
  /** Exponent of the smallest normal number, and of the largest. */
  least: number;
  most: number;
}

const formats: Record<Dtype, Format> = {
  float32: { fraction: 23, least: -126, most: 127 },
  float16: { fraction: 10, least: -14, most: 15 },
  bfloat16: { fraction: 7, least: -126, most: 127 },
};

const one = new Float64Array(1);
const words = new Uint32Array(one.buffer);

/** floor(log2 |x|) for finite x; -1023 and below for zero and float64 subnormals; 1024 for infinities and NaN. */
function exponentOf(x: number): number {
  one[0] = x;
  return ((words[1]! >>> 20) & 0x7ff) - 1023;
}

/** Distance between neighbours of the type at |x|. */
export function spacing(dtype: Dtype, x: number): number {
  const { fraction, least, most } = formats[dtype];
  return 2 ** (Math.min(Math.max(exponentOf(x), least), most) - fraction);
}

/** x rounded to the type, as a number. Values past the largest finite number become infinite. */
export function round(dtype: Dtype, x: number): number {
  if (dtype === 'float32') return Math.fround(x);
  const { fraction, least, most } = formats[dtype];
  const exponent = exponentOf(x);
  if (exponent === 1024 || x === 0) return x;
  if (exponent > most) return x > 0 ? Infinity : -Infinity;
  // Adding 1.5 * 2^52 quanta leaves float64 no digits below one quantum: its own rounding does ours.
  const magic = 1.5 * 2 ** (52 + Math.max(exponent, least) - fraction);
  const rounded = x + magic - magic;
  if (rounded === 0) return x < 0 ? -0 : 0;
  if (Math.abs(rounded) >= 2 ** (most + 1)) return x > 0 ? Infinity : -Infinity;
  return rounded;
}

/** Bits of round(dtype, x) in a 16-bit type. NaN gives the quiet NaN. */
export function encode16(dtype: 'float16' | 'bfloat16', x: number): number {
  const { fraction, least, most } = formats[dtype];
  const value = round(dtype, x);
  const infinity = (most + 1 - least + 1) << fraction;
  if (Number.isNaN(value)) return infinity | (1 << (fraction - 1));
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign | infinity;
  const exponent = Math.max(exponentOf(magnitude), least);
  const digits = magnitude / 2 ** (exponent - fraction); // integer; below 2^fraction when subnormal
  return sign | (digits < 2 ** fraction ? digits : ((exponent - least) << fraction) + digits);
}

function decodeOne(dtype: 'float16' | 'bfloat16', bits: number): number {
  const { fraction, least, most } = formats[dtype];
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fraction;
  const digits = bits & ((1 << fraction) - 1);
  if (exponent === most + 1 - least + 1) return digits === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * digits * 2 ** (least - fraction)
    : sign * (digits + 2 ** fraction) * 2 ** (exponent - 1 + least - fraction);
}

const tables = new Map<string, Float64Array>();

/** The value of a 16-bit pattern. */
export function decode16(dtype: 'float16' | 'bfloat16', bits: number): number {
  let table = tables.get(dtype);
  if (table === undefined) {
    table = Float64Array.from({ length: 65536 }, (_, pattern) => decodeOne(dtype, pattern));
    tables.set(dtype, table);
  }
  return table[bits]!;
}

export type Storage = Float32Array | Uint16Array;

/** A buffer of the type for `length` elements, filled with `value`. */
export function allocate(dtype: Dtype, length: number, value = 0): Storage {
  return dtype === 'float32'
    ? new Float32Array(length).fill(value)
    : new Uint16Array(length).fill(encode16(dtype, value));
}

export function store(dtype: Dtype, data: Storage, index: number, value: number): void {
  data[index] = dtype === 'float32' ? value : encode16(dtype, value);
}

export function load(dtype: Dtype, data: ArrayLike<number>, index: number): number {
  return dtype === 'float32' ? data[index]! : decode16(dtype, data[index]!);
}
