// Exact widening of the half types. Every value of both is a float32 value, so this is a matter of bits: subnormals are
// normalised, infinities stay, and NaNs keep sign and payload.

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The bits of the float32 equal to a float16, given by its bits. */
export function float16ToFloat32Bits(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (fraction << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0;
  // Subnormal: fraction * 2^-24, which float32 holds as a normal number.
  scratch[0] = fraction * 2 ** -24;
  return (sign | scratchBits[0]!) >>> 0;
}

/** The bits of the float32 equal to a bfloat16, given by its bits. */
export function bfloat16ToFloat32Bits(bits: number): number {
  return (bits << 16) >>> 0;
}
