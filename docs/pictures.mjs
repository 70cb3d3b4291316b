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
  shard,
  sharedPrefix,
  slidingWindow,
  strided,
  Tensor,
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

// Who holds and computes what: a cell for each pair of a query and a key that is seen, in the colour of the rank that has
// the query, with the round of the ring in which it is computed.
const ranks = 4;
const rows = 16;
const colours = ['#2a6f97', '#e07a5f', '#81b29a', '#b5838d'];
function schedule(name, mask, sharding) {
  const side = 14;
  const owner = new Array(rows);
  const positions = Tensor.from(
    Float32Array.from({ length: rows }, (_, n) => n),
    [rows],
  );
  for (let rank = 0; rank < ranks; rank += 1) {
    for (const row of shard(positions, { rank, size: ranks }, { sharding, axis: 0 }).toFloat32()) owner[row] = rank;
  }
  const { states } = blockMap(mask, { nq: rows, block: 1 });
  const parts = [];
  const cell = (x, y, colour, text = '') => {
    parts.push(`<rect x="${x * side}" y="${y * side}" width="${side - 1}" height="${side - 1}" fill="${colour}"/>`);
    if (text !== '') parts.push(`<text x="${x * side + 6.5}" y="${y * side + 10}">${text}</text>`);
  };
  for (let n = 0; n < rows; n += 1) {
    cell(n + 1.5, 0, colours[owner[n]]);
    cell(0, n + 1.5, colours[owner[n]]);
  }
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < rows; j += 1) {
      const round = (owner[i] - owner[j] + ranks) % ranks;
      if (states[i * rows + j] !== 0) cell(j + 1.5, i + 1.5, colours[owner[i]], `${round}`);
      else cell(j + 1.5, i + 1.5, '#f0f0f0');
    }
  }
  const size = (rows + 1.5) * side;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" viewBox="0 0 ${size} ${size}"`;
  const font = 'font-family="sans-serif" font-size="9" text-anchor="middle"';
  const title = `<title>${mask} over ${ranks} ranks, ${sharding}</title>`;
  const text = `${head} ${font}>\n${[title, ...parts].join('\n').replaceAll('<text', '<text fill="#fff"')}\n</svg>\n`;
  writeFileSync(join(here, 'images', `${name}.svg`), text);
}
for (const sharding of ['contiguous', 'zigzag', 'striped']) schedule(`ring-${sharding}`, causal(), sharding);
schedule('ring-window', slidingWindow(2, 0), 'contiguous');
