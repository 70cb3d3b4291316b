// Mutants that no call can tell from the kernel, each with the reason. Ordinals are those of the rule in the kernel.

export interface Explained {
  readonly kernel: string;
  readonly rule: string;
  readonly ordinals: readonly number[];
  readonly why: string;
}

const special = 'forward_f16_64';

const decode = 'decode_f16_64';

const eight = [0, 1, 2, 3, 4, 5, 6, 7];

export const explained: readonly Explained[] = [
  {
    kernel: special,
    rule: 'barrier of a warp',
    ordinals: [0],
    why: 'the interpreter runs the lanes of a warp together, and does not look for races within one',
  },
  {
    kernel: special,
    rule: 'wait',
    ordinals: [2],
    why: 'the loop has waited for all that it began to copy, and without tiles there is nothing to wait for',
  },
  {
    kernel: special,
    rule: 'wait for one group less',
    ordinals: [1],
    why: 'as without that wait',
  },
  {
    kernel: special,
    rule: 'shuffle',
    ordinals: [0, 1, 2, 3, 4, 5],
    why: 'a lane that knows only that its own rows see all keys of a tile hides none of them, which is right',
  },
  {
    kernel: special,
    rule: 'gt is ge',
    ordinals: eight,
    why: 'that the number of a query is not negative goes without saying',
  },
  {
    kernel: special,
    rule: 'second condition alone',
    ordinals: eight,
    why: 'as where queries that are not negative are compared with one less',
  },
  {
    kernel: special,
    rule: 'le is lt',
    ordinals: [4, 5, 6, 7],
    why: 'tiles after the first one begin after the first key that is seen',
  },
  {
    kernel: special,
    rule: 'second condition alone',
    ordinals: [12, 13, 14, 15],
    why: 'as where tiles after the first one are asked whether they begin after the first key',
  },
  {
    kernel: special,
    rule: 'second condition alone',
    ordinals: [80, 82, 84, 86],
    why: 'the four lanes of a row write the same number to the same place',
  },
  {
    kernel: decode,
    rule: 'barrier of a warp',
    ordinals: [0, 1],
    why: 'the interpreter runs the lanes of a warp together, and does not look for races within one',
  },
  {
    kernel: decode,
    rule: 'shuffle',
    ordinals: [0, 1, 2, 3, 4, 5],
    why: 'a lane that knows only that its own rows see all keys of a tile hides none of them, which is right',
  },
  {
    kernel: decode,
    rule: 'vote',
    ordinals: [0],
    why: 'as where a lane knows only of its own rows that they see all keys',
  },
  {
    kernel: decode,
    rule: 'bytes that are there',
    ordinals: [0, 1, 2, 3, 8, 9, 10, 11],
    why: 'of keys that no row sees the first one is read instead of nothing, and all scores of them are hidden',
  },
];
