#include "lexer.h"

#include <cctype>
#include <stdexcept>
#include <string>

namespace fused_attention::ptx {

namespace {

bool startsWord(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}
bool continuesNumber(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '.'; }
bool continuesWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '.'; }

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  std::vector<Token> tokens;
  size_t at = 0;
  int line = 1;
  const auto peek = [&](size_t ahead) { return at + ahead < source.size() ? source[at + ahead] : '\0'; };
  const auto unterminated = [&](const char* what) {
    throw std::runtime_error("line " + std::to_string(line) + ": " + what + " without an end");
  };
  while (at < source.size()) {
    const char c = source[at];
    const size_t start = at;
    if (c == '\n') ++line;
    if (std::isspace(static_cast<unsigned char>(c)) || c == '\0') {
      ++at;
    } else if (c == '/' && peek(1) == '/') {
      while (at < source.size() && source[at] != '\n') ++at;
    } else if (c == '/' && peek(1) == '*') {
      const size_t end = source.find("*/", at + 2);
      if (end == std::string_view::npos) unterminated("a comment");
      for (; at < end + 2; ++at) line += source[at] == '\n';
    } else if (c == '"') {
      const size_t end = source.find('"', at + 1);
      if (end == std::string_view::npos) unterminated("a string");
      at = end + 1;
      tokens.push_back({Token::String, source.substr(start + 1, at - start - 2), line});
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      while (at < source.size() && continuesNumber(source[at])) ++at;
      tokens.push_back({Token::Number, source.substr(start, at - start), line});
    } else if (startsWord(c)) {
      ++at;
      while (at < source.size() && (continuesWord(source[at]) || (source[at] == ':' && peek(1) == ':'))) {
        at += source[at] == ':' ? 2 : 1;
      }
      tokens.push_back({Token::Word, source.substr(start, at - start), line});
    } else {
      ++at;
      tokens.push_back({Token::Punctuation, source.substr(start, 1), line});
    }
  }
  tokens.push_back({Token::End, {}, line});
  return tokens;
}

}  // namespace fused_attention::ptx
