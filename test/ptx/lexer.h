// Tokens of PTX text. A word is an identifier with everything that dots and double colons tie to it, so an opcode with
// its modifiers is one token, and so is a special register with its component.
#pragma once

#include <string_view>
#include <vector>

namespace fused_attention::ptx {

struct Token {
  enum Kind { Word, Number, String, Punctuation, End } kind;
  std::string_view text;  // into the source
  int line;
};

// Throws std::runtime_error at an unterminated comment or string. The last token is End.
std::vector<Token> tokenize(std::string_view source);

}  // namespace fused_attention::ptx
