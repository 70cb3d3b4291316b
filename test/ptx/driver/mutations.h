// Mutations of kernels, applied to their text as it is loaded, so that checks can be shown to bite.
#pragma once

#include <string>

namespace fused_attention::ptx {

// The text as the device with this number is given it: PTX_MUTATIONS names a file that has, for each line to change,
// the device and the kernel with the line's number, 0 being the one with `.entry`; the line; and the line in its place.
//   3 forward_f16_64 120
//   	bar.sync 	0;
//   	// gone
// Throws std::runtime_error where a kernel that is in the text has another line there.
std::string mutated(std::string text, int device);

}  // namespace fused_attention::ptx
