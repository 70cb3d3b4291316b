// An engine whose link to other ranks carries so many bytes a second.
import type { Engine } from '../lib/sequence-parallel/engine.js';
import { sizeOf } from '../lib/dtype.js';
import { countOf } from '../lib/shape.js';

export function throttled(engine: Engine, bytesPerSecond: number): Engine {
  let free = 0;
  return {
    rank: engine.rank,
    size: engine.size,
    async send(to, channel, message) {
      const bytes = message.tensors.reduce((sum, { shape, dtype }) => sum + countOf(shape) * sizeOf[dtype], 0);
      if (to === engine.rank || bytes === 0) return engine.send(to, channel, message);
      // One message after the other.
      free = Math.max(free, performance.now()) + (1000 * bytes) / bytesPerSecond;
      await new Promise((resolve) => setTimeout(resolve, free - performance.now()));
      return engine.send(to, channel, message);
    },
    receive: (from, channel) => engine.receive(from, channel),
    working: (work) => engine.working(work),
    fail: (cause) => engine.fail(cause),
    close: () => engine.close(),
  };
}
