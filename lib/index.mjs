// The ES module face of the CommonJS build, so that `import` and `require` share one Tensor and one addon. Required rather
// than imported: Node then need not find out the names of its exports, which takes longer than all the rest.
import { createRequire } from 'node:module';

const library = createRequire(import.meta.url)('./index.js');

export const {
  AttentionError,
  Mask,
  Tensor,
  attention,
  attentionSync,
  causal,
  devices,
  explain,
  mergePartials,
  mergePartialsSync,
  slidingWindow,
} = library;
