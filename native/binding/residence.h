// Keeps this library in memory for good.
#pragma once

namespace fused_attention::binding {

/// Node closes the library when the last worker that loaded it ends, while threads of the pool still sleep in its code.
void stayLoaded();

}  // namespace fused_attention::binding
