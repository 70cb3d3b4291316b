#include "bounds.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "../error.h"
#include "box_view.h"

namespace fused_attention {

namespace {

const char* argumentOf(const Program& program) {
  return program.kind() == ProgramKind::mask ? "options.mask" : "options.score";
}

std::string interval(const AbstractValue& v) {
  return "from " + std::to_string(v.least) + " to " + std::to_string(v.most);
}

}  // namespace

Bounds::Bounds(const UnaryValues& values) : values_(values) {
  const Program& program = values.program();
  const size_t count = size_t(program.result()) + 1;
  forms_.resize(count);
  parts_.resize(count, Part::unused);
  pyramids_.resize(count);
  findForms();
  findParts();
  findDistances();
  const Place& place = values.place();
  if (place.queries == 0 || place.keys == 0) return;
  for (size_t n = 0; n < count; ++n) {
    if (parts_[n] != Part::query && parts_[n] != Part::key) continue;
    if (forms_[n].is) continue;
    const bool query = parts_[n] == Part::query;
    const Cell* cells = query ? values.byQuery(int(n)) : values.byKey(int(n));
    std::vector<uint8_t> poison;
    const int64_t length = query ? place.queries : place.keys;
    if (values.uncertain(int(n))) {
      for (int64_t t = 0; t < length; ++t) {
        poison.push_back(query ? values.poisonByQuery(int(n))[t] : uint8_t(values.poisonByKey(int(n))[t].integer));
      }
    }
    const Type type = program.node(int(n)).type;
    pyramids_[n] = std::make_unique<const ExtremesPyramid>(cells, std::move(poison), length, type);
  }

  // Over the whole sequence no integer may leave int32, and no divisor be 0.
  BoxView view(*this);
  view.setRows({0, place.queries});
  view.setColumns({0, place.keys});
  const auto check = [&](int n) {
    const Node& node = program.node(n);
    if (node.op == Op::mod || node.op == Op::floorDiv || node.op == Op::ceilDiv || node.op == Op::truncDiv) {
      const AbstractValue& divisor = view.value(node.args[1]);
      uint64_t bits = 0;
      const bool zero = divisor.least <= 0 && divisor.most >= 0;
      const bool hole = divisor.hasSet && membersFrom(divisor, divisor.least, bits) &&
                        !(bits >> std::min<int64_t>(63, std::max<int64_t>(0, -divisor.least)) & 1);
      if (zero && !hole) {
        throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program),
                         "divisors that cannot be 0 for the lengths of this call", "one " + interval(divisor));
      }
    }
  };
  std::vector<int> nodes(mixed_);
  nodes.insert(nodes.end(), sums_.begin(), sums_.end());
  std::sort(nodes.begin(), nodes.end());
  for (const int n : nodes) {
    check(n);
    view.evaluateNode(n);
    const AbstractValue& value = view.value(n);
    if (program.node(n).type == Type::integer && (value.least < kIntLeast || value.most > kIntMost)) {
      throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program), "integers within int32 for the lengths of this call",
                       "one that may be " + interval(value));
    }
  }
}

bool Bounds::dependsOnHead() const { return values_.program().depends(values_.program().result()) & onHead; }

size_t Bounds::bytes() const {
  size_t bytes = sizeof(*this);
  for (const auto& pyramid : pyramids_) bytes += pyramid ? pyramid->bytes() : 0;
  return bytes;
}

/// Sums of positions, whatever the box.
void Bounds::findForms() {
  const Program& program = values_.program();
  const Place& place = values_.place();
  for (size_t n = 0; n < forms_.size(); ++n) {
    const Node& node = program.node(int(n));
    if (node.type != Type::integer) continue;
    Form& form = forms_[n];
    const auto operand = [&](int k) -> const Form& { return forms_[size_t(node.args[k])]; };
    switch (node.op) {
      case Op::constant: form = {true, 0, 0, int64_t(node.value)}; break;
      case Op::parameter: form = {true, 0, 0, program.number(int(node.value)).integer}; break;
      case Op::i: form = {true, 1, 0, place.queryStart}; break;
      case Op::row: form = {true, 1, 0, 0}; break;
      case Op::j:
      case Op::col:
        if (place.gap.positions == 0) form = {true, 0, 1, 0};
        break;
      case Op::b: form = {true, 0, 0, place.batch}; break;
      case Op::nq: form = {true, 0, 0, place.queries}; break;
      case Op::nkv: form = {true, 0, 0, place.keys + place.gap.positions}; break;
      case Op::add:
        if (operand(0).is && operand(1).is) {
          form = {true, operand(0).a + operand(1).a, operand(0).b + operand(1).b, operand(0).c + operand(1).c};
        }
        break;
      case Op::sub:
        if (operand(0).is && operand(1).is) {
          form = {true, operand(0).a - operand(1).a, operand(0).b - operand(1).b, operand(0).c - operand(1).c};
        }
        break;
      case Op::neg:
        if (operand(0).is) form = {true, -operand(0).a, -operand(0).b, -operand(0).c};
        break;
      case Op::mul:
        for (int k = 0; k < 2; ++k) {
          const Form &factor = operand(k), &other = operand(1 - k);
          if (!factor.is || !other.is || factor.a != 0 || factor.b != 0) continue;
          form = {true, other.a * factor.c, other.b * factor.c, other.c * factor.c};
        }
        break;
      default: break;
    }
    // What leaves int32 is refused by its interval; a form that large would only overflow here.
    constexpr int64_t most = int64_t{1} << 30;
    if (std::abs(form.a) > most || std::abs(form.b) > most || std::abs(form.c) > most) form = {};
  }
}

/// Whether a node is told by forms, without the values of its operands: a sum of positions, or two of them compared.
bool Bounds::byForms(int n) const {
  const Node& node = values_.program().node(n);
  if (forms_[size_t(n)].is) return true;
  return node.type == Type::boolean && node.arity == 2 && forms_[size_t(node.args[0])].is &&
         forms_[size_t(node.args[1])].is;
}

/// Which nodes have to be evaluated for a box: the mixed ones, and what they read of either side.
void Bounds::findParts() {
  const Program& program = values_.program();
  std::vector<bool> needed(parts_.size(), false), read(parts_.size(), false);
  needed.back() = read.back() = true;
  for (size_t n = parts_.size(); n-- > 0;) {
    if (!needed[n]) continue;
    const uint8_t depends = program.depends(int(n));
    positions_ |= forms_[n].is && (depends & (onQuery | onKey)) != 0;
    if ((depends & ~onHead) == 0) {
      parts_[n] = Part::fixed;
    } else if (depends == onQuery) {
      parts_[n] = Part::query;
    } else if (depends == onKey) {
      parts_[n] = Part::key;
    } else {
      parts_[n] = Part::mixed;
      const Node& node = program.node(int(n));
      for (int k = 0; k < node.arity; ++k) {
        needed[size_t(node.args[k])] = true;
        if (!byForms(int(n))) read[size_t(node.args[k])] = true;
      }
    }
  }
  for (size_t n = 0; n < parts_.size(); ++n) {
    switch (parts_[n]) {
      case Part::unused: break;
      case Part::fixed: fixed_.push_back(int(n)); break;
      case Part::query:
        if (read[n]) query_.push_back(int(n));
        break;
      case Part::key:
        if (read[n]) key_.push_back(int(n));
        break;
      case Part::mixed: (read[n] ? mixed_ : sums_).push_back(int(n)); break;
    }
  }
}

void Bounds::findDistances() {
  const Program& program = values_.program();
  ofDistance_.resize(parts_.size(), false);
  for (size_t n = 0; n < parts_.size(); ++n) {
    if (parts_[n] == Part::fixed) ofDistance_[n] = true;
    if (parts_[n] != Part::mixed) continue;
    const Node& node = program.node(int(n));
    if (byForms(int(n))) {
      const bool sum = forms_[n].is;
      const Form& f = forms_[sum ? n : size_t(node.args[0])];
      const Form g = sum ? Form{} : forms_[size_t(node.args[1])];
      ofDistance_[n] = f.a - g.a == g.b - f.b;
      continue;
    }
    bool all = node.arity > 0;
    for (int k = 0; k < node.arity; ++k) all = all && ofDistance_[size_t(node.args[k])];
    ofDistance_[n] = all;
  }
}

}  // namespace fused_attention
