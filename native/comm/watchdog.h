// Ends the process where a call of an engine does not come back: the thread of the event loop is in it, so nothing else
// can.
#pragma once

namespace fused_attention {

/// From the first one on, a thread looks every now and then whether one is there for longer than the limit.
class Watched {
 public:
  Watched();
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  static void limit(int milliseconds);
};

}  // namespace fused_attention
