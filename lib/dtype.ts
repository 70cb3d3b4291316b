// Element types: their names, sizes and ids in the flat encoding of a call.

/**
 * Element type of a tensor. `float16` and `bfloat16` are stored as raw bits in a `Uint16Array` (`float16` also in a
 * `Float16Array` where the runtime has one); `bool` is one byte an element, nonzero is true.
 */
export type Dtype = 'float32' | 'float16' | 'bfloat16' | 'bool';

/** An element type that values can have; all of them but `bool`. */
export type FloatDtype = 'float32' | 'float16' | 'bfloat16';

export const floatDtypes: readonly FloatDtype[] = ['float32', 'float16', 'bfloat16'];
export const dtypes: readonly Dtype[] = [...floatDtypes, 'bool'];

/** Bytes of one element. */
export const sizeOf: Readonly<Record<Dtype, number>> = { float32: 4, float16: 2, bfloat16: 2, bool: 1 };

/** `enum class Dtype` of native/problem.h. */
export const dtypeId: Readonly<Record<Dtype, number>> = { float32: 0, float16: 1, bfloat16: 2, bool: 3 };

export function isDtype(value: unknown): value is Dtype {
  return (dtypes as readonly unknown[]).includes(value);
}
