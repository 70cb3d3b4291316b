// What takes part in a measurement.

export interface Contestant {
  name: string;
  /** What is unlike between this contestant's job and ours; printed under the table. */
  unlike?: string;
  /** One complete call. Synchronous contestants return undefined, so that no promise is timed. */
  run(): undefined | Promise<void>;
  /** Output element (batch, head, row, 0..dim) of the latest run; null if it left this row out. */
  row(batch: number, head: number, row: number): Float32Array | null;
  /** Part of the case's work that one `run` does: 1, or less for the slow ones. */
  share: number;
  dispose?(): Promise<void>;
}
