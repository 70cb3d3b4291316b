// The signal that tells a transformer where a token stands: sines, then cosines, of the position at many frequencies.

export class PositionSignal {
  readonly #table: Float32Array;
  readonly #width: number;

  /** Positions 0 … count − 1 at the model's angular frequencies. */
  constructor(frequencies: Float32Array, count: number) {
    const half = frequencies.length;
    this.#width = 2 * half;
    this.#table = new Float32Array(count * this.#width);
    for (let position = 0; position < count; position++) {
      for (let f = 0; f < half; f++) {
        const angle = Math.fround(position * frequencies[f]!);
        this.#table[position * this.#width + f] = Math.sin(angle);
        this.#table[position * this.#width + half + f] = Math.cos(angle);
      }
    }
  }

  /** The signal at one position, twice as wide as there are frequencies. */
  at(position: number): Float32Array {
    return this.#table.subarray(position * this.#width, (position + 1) * this.#width);
  }
}
