// Parses whole PTX modules: everything is read, nothing decoded.
#pragma once

#include <memory>
#include <string>

#include "module.h"

namespace fused_attention::ptx {

// Throws std::runtime_error with the line of what could not be parsed.
std::shared_ptr<const Module> parseModule(std::string source);

}  // namespace fused_attention::ptx
