// The ES module face of the CommonJS build, so that `import` and `require` share one Tensor and one addon.
import library from './index.js';

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
