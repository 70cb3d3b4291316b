// The ES module face of the CommonJS build, so that `import` and `require` share one Tensor and one addon. Required rather
// than imported: Node then need not find out the names of its exports, which takes longer than all the rest.
import { createRequire } from 'node:module';

const library = createRequire(import.meta.url)('./index.js');

export const {
  AttentionError,
  BlockMap,
  KvCache,
  Mask,
  Score,
  Tensor,
  alibi,
  and,
  attention,
  attentionSync,
  blockMap,
  causal,
  compose,
  devices,
  dilated,
  documents,
  explain,
  gridBias,
  logLengthScaling,
  mask,
  mergePartials,
  mergePartialsSync,
  neighborhood,
  neighborhoodAttention,
  neighborhoodAttentionSync,
  not,
  or,
  prefixLm,
  relativeBias,
  score,
  segments,
  sharedPrefix,
  slidingWindow,
  strided,
  temperature,
} = library;
