#include "mutations.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace fused_attention::ptx {

namespace {

struct Mutation {
  int device = 0, line = 0;
  std::string kernel, before, after;
};

std::vector<Mutation> readMutations() {
  std::vector<Mutation> list;
  const char* path = std::getenv("PTX_MUTATIONS");
  if (path == nullptr) return list;
  std::ifstream file(path);
  Mutation next;
  for (std::string head; std::getline(file, head);) {
    std::istringstream words(head);
    if (!(words >> next.device >> next.kernel >> next.line) || !std::getline(file, next.before) ||
        !std::getline(file, next.after)) {
      throw std::runtime_error(std::string(path) + ": no mutation: " + head);
    }
    list.push_back(next);
  }
  if (list.empty()) throw std::runtime_error(std::string(path) + ": no mutations");
  return list;
}

}  // namespace

std::string mutated(std::string text, int device) {
  static const std::vector<Mutation> mutations = readMutations();
  for (const Mutation& mutation : mutations) {
    if (mutation.device != device) continue;
    const size_t entry = text.find(".entry " + mutation.kernel + "(");
    if (entry == std::string::npos) continue;
    size_t begin = text.rfind('\n', entry) + 1;
    for (int n = 0; n < mutation.line && begin > 0; ++n) begin = text.find('\n', begin) + 1;
    if (begin == 0 && mutation.line > 0) throw std::runtime_error(mutation.kernel + " ends before the line to change");
    const size_t length = std::min(text.find('\n', begin), text.size()) - begin;
    if (text.compare(begin, length, mutation.before) != 0) {
      throw std::runtime_error("the line to change is another one: " + text.substr(begin, length));
    }
    text.replace(begin, length, mutation.after);
  }
  return text;
}

}  // namespace fused_attention::ptx
