// Draws the patterns that the pages of docs/ show. After a build of the package: node docs/pictures.mjs
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const {
  and,
  blockMap,
  blockSparse,
  causal,
  dilated,
  documents,
  neighborhood,
  prefixLm,
  segments,
  sharedPrefix,
  slidingWindow,
  strided,
} = createRequire(import.meta.url)('../dist/index.js');

const length = 2048;
const ends = [320, 896, 1088, 1664];
const ids = Int32Array.from({ length }, (_, n) => ends.filter((end) => n >= end).length);
const kinds = ids.map((id) => id % 3);
const allowed = [
  [1, 0, 1],
  [1, 1, 0],
  [0, 0, 1],
];

const patterns = {
  causal: causal(),
  'sliding-window': slidingWindow(384, 0),
  'prefix-lm': prefixLm(600),
  documents: documents(ids),
  'shared-prefix': sharedPrefix(512, 256),
  strided: strided(256),
  dilated: and(slidingWindow(512, 512), dilated(256)),
  segments: segments(kinds, allowed),
  'causal-documents': and(causal(), documents(ids)),
};

const small = { grid: [16, 16], window: 5 };
const grids = {
  neighborhood: neighborhood(small),
  'neighborhood-dilated': neighborhood({ ...small, dilation: 2 }),
  'neighborhood-windowed': neighborhood({ grid: [16, 16], window: 4, stride: 4 }),
};

const blocks = Array.from({ length: 32 }, (_, row) =>
  Array.from({ length: row + 1 }, (_none, block) => block).filter(
    (block) => block < 2 || row - block < 3 || block % 4 === 3,
  ),
);

mkdirSync(join(here, 'images'), { recursive: true });
const draw = (name, pattern, options) => {
  const picture = blockMap(pattern, options).toSVG();
  writeFileSync(
    join(here, 'images', `${name}.svg`),
    picture.replace(/width="512" height="512"/, 'width="256" height="256"'),
  );
};
for (const [name, pattern] of Object.entries(patterns)) draw(name, pattern, { nq: length, block: 64 });
draw('block-sparse', and(blockSparse(blocks, { blockSize: 64 }), causal()), { nq: length, block: 32 });
for (const [name, pattern] of Object.entries(grids)) draw(name, pattern, { nq: 256, block: 4 });
