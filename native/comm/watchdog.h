// Ends the process where a call of an engine does not come back: the thread of the event loop is in it, so nothing else
// can.
#pragma once

namespace fused_attention {

/// From the first one on, a thread looks every now and then whether one is there for longer than the limit. SIGTERM
/// ends a process likewise whose call waits for a rank that is gone, and would keep the event loop from hearing of it.
class Watched {
 public:
  Watched();
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  /// Called when there are listeners of SIGTERM.
  static void limit(int milliseconds);
  /// SIGTERM has come: from then on no call is sure to come back.
  static bool terminated();
};

}  // namespace fused_attention
