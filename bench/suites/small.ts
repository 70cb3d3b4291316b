import { square, type Case } from '../case.js';

/** Many heads over few rows, as encoders of sentences and patches have them: B · H = 512. */
export const small = (): Case[] =>
  [64, 32].flatMap((dim) =>
    [16, 32, 49, 64, 128].map((rows) =>
      square('small', rows, dim, { label: `B 64, H 8, N ${rows}, D ${dim}`, batch: 64 }),
    ),
  );
