// What takes part in a measurement, and what cannot.

export interface Contestant {
  name: string;
  /** ours: what the case is about. reference: ours again in another way. peer: somebody else's. */
  role: 'ours' | 'reference' | 'peer';
  /** What is unlike between this contestant's job and ours; printed under the table. */
  unlike?: string;
  /** One complete call. Synchronous contestants return undefined, so that no promise is timed. */
  run(): undefined | Promise<void>;
  /** Output element (batch, head, row, 0..dim) of the latest run; null if it left this row out. */
  row(batch: number, head: number, row: number): ArrayLike<number> | null;
  /** Part of the case's work that one `run` does: 1, or less for the slow ones. */
  share: number;
  /** Timed in the first rounds only. */
  slow?: true;
  /** Threads, where they are not the run's; its peak is measured on as many. */
  threads?: number;
  /** Work of a reference that does another job than the case's: its results are another case's, and checked there. */
  otherWork?: { flops: number };
  /** Answers otherwise than the case asks (the same without a score program), or from a lesser type. */
  otherResult?: true;
  dispose?(): Promise<void>;
}

/** A contestant that does not take part in a case, and why. */
export interface Absent {
  name: string;
  absent: string;
  /** It should take part here, but fails or is wrong. */
  broken?: true;
}

export const isAbsent = (one: Contestant | Absent): one is Absent => 'absent' in one;
