#include "tile_code.h"

#include <algorithm>
#include <numbers>

#include "../error.h"

namespace fused_attention {

namespace {

/// An operand: a virtual register of panels, a lane vector or a key vector. Virtual registers are written once.
struct Operand {
  Shape shape = Shape::panel;
  int index = -1;
  bool boolean = false;

  bool none() const { return index < 0; }
  bool isPanel() const { return index >= 0 && shape == Shape::panel; }
};

/// An instruction before its registers are known.
struct Virtual {
  Instruction instruction;
  Operand a, b, c;
  int out = -1;  // -1: writes words
  bool dead = false;
};

TileOp typedOp(Op op, Type operand) {
  const bool real = operand == Type::real, boolean = operand == Type::boolean;
  switch (op) {
    case Op::add: return real ? TileOp::addReal : TileOp::addInteger;
    case Op::sub: return real ? TileOp::subReal : TileOp::subInteger;
    case Op::mul: return real ? TileOp::mulReal : TileOp::mulInteger;
    case Op::div: return TileOp::divReal;
    case Op::mod: return TileOp::modInteger;
    case Op::floorDiv: return TileOp::floorDivInteger;
    case Op::ceilDiv: return TileOp::ceilDivInteger;
    case Op::truncDiv: return TileOp::truncDivInteger;
    case Op::neg: return real ? TileOp::negReal : TileOp::negInteger;
    case Op::abs: return real ? TileOp::absReal : TileOp::absInteger;
    case Op::min: return real ? TileOp::minReal : TileOp::minInteger;
    case Op::max: return real ? TileOp::maxReal : TileOp::maxInteger;
    case Op::sign: return real ? TileOp::signReal : TileOp::signInteger;
    case Op::bitAnd: return TileOp::bitAnd;
    case Op::bitOr: return TileOp::bitOr;
    case Op::bitXor: return TileOp::bitXor;
    case Op::bitNot: return TileOp::bitNot;
    case Op::shl: return TileOp::shiftLeft;
    case Op::shr: return TileOp::shiftRight;
    case Op::ushr: return TileOp::shiftRightLogical;
    case Op::lt: return real ? TileOp::ltReal : TileOp::ltInteger;
    case Op::le: return real ? TileOp::leReal : TileOp::leInteger;
    case Op::eq: return real ? TileOp::eqReal : boolean ? TileOp::eqBoolean : TileOp::eqInteger;
    case Op::ne: return real ? TileOp::neReal : boolean ? TileOp::neBoolean : TileOp::neInteger;
    case Op::lnot: return TileOp::notBoolean;
    case Op::land: return TileOp::andBoolean;
    case Op::lor: return TileOp::orBoolean;
    case Op::select: return TileOp::select;
    case Op::toReal: return TileOp::toReal;
    case Op::floor: return TileOp::floorReal;
    case Op::ceil: return TileOp::ceilReal;
    case Op::trunc: return TileOp::truncReal;
    case Op::exp: return TileOp::expReal;
    case Op::log: return TileOp::logReal;
    case Op::log2: return TileOp::log2Real;
    case Op::sqrt: return TileOp::sqrtReal;
    case Op::tanh: return TileOp::tanhReal;
    case Op::sin: return TileOp::sinReal;
    case Op::cos: return TileOp::cosReal;
    case Op::pow: return TileOp::powReal;
    default: throw CodedError("ERR_INTERNAL", "program", "an operation on values", std::to_string(int(op)));
  }
}

class Encoder {
 public:
  Encoder(const Program& program, const std::vector<bool>* uncertain)
      : program_(program),
        uncertain_(uncertain),
        values_(program.nodes().size()),
        poisons_(program.nodes().size()),
        lanes_(program.nodes().size(), -1),
        keys_(program.nodes().size(), -1) {
    static constexpr int32_t kNothing = 0;
    for (int t = 0; t < int(program.graph().tables.size()); ++t) {
      const Table& table = program.table(t);
      if (table.cells.size() > size_t(INT32_MAX)) {
        throw CodedError("ERR_UNSUPPORTED", "program.tables", "fewer than 2^31 elements",
                         std::to_string(table.cells.size()));
      }
      // A table of no elements is never read but for an index that was clamped.
      code_.tables.push_back(table.cells.empty() ? &kNothing : &table.cells.data()->integer);
    }
  }

  TileCode mask() {
    encodeNodes();
    emitWords(use(program_.result()));
    return finish();
  }

  TileCode score(double softcap) {
    takeScores(softcap);
    encodeNodes();
    return finish(scaled(panelOf(use(program_.result())), float(std::numbers::log2e)).index);
  }

  TileCode poison(double softcap) {
    if (program_.kind() == ProgramKind::score) takeScores(softcap);
    encodeNodes();
    const Operand result = poisonOf(program_.result());
    if (result.none()) return {};
    emitWords(result);
    return finish();
  }

 private:
  struct Operands {
    Operand a = {}, b = {}, c = {};
  };

  // --- nodes -------------------------------------------------------------------------------------------------------

  /// Evaluated elsewhere and read as a vector.
  bool unary(int node) const {
    const uint8_t depends = program_.depends(node);
    return depends == 0 || depends == onQuery || depends == onKey || depends == onHead;
  }

  void encodeNodes() {
    std::vector<bool> needed(program_.nodes().size(), false);
    uses_.assign(needed.size(), 0);
    needed[size_t(program_.result())] = true;
    for (int n = program_.result(); n >= 0; --n) {
      if (!needed[size_t(n)] || unary(n)) continue;
      const Node& node = program_.node(n);
      for (int k = 0; k < node.arity; ++k) {
        needed[size_t(node.args[k])] = true;
        ++uses_[size_t(node.args[k])];
      }
    }
    for (int n = 0; n <= program_.result(); ++n) {
      if (!needed[size_t(n)] || unary(n)) continue;
      values_[size_t(n)] = encode(n);
      if (uncertain_) poisons_[size_t(n)] = encodePoison(n);
    }
  }

  Operand encode(int n) {
    const Node& node = program_.node(n);
    switch (node.op) {
      case Op::s: return scores_;
      case Op::grid: return input(int(node.value));
      case Op::table: return read(node);
      case Op::toReal:
        if (const Node* difference = onlyHere(node.args[0], Op::sub)) {
          return emit(TileOp::differenceToReal, false, {use(difference->args[0]), use(difference->args[1])});
        }
        if (const Node* distance = onlyHere(node.args[0], Op::abs)) {
          if (const Node* difference = onlyHere(distance->args[0], Op::sub)) {
            return emit(TileOp::distanceToReal, false, {use(difference->args[0]), use(difference->args[1])});
          }
        }
        break;
      case Op::add:
      case Op::sub:
        if (const Operand sum = encodeProduct(node); !sum.none()) return sum;
        break;
      default: break;
    }
    Operands operands{use(node.args[0])};
    if (node.arity > 1) operands.b = use(node.args[1]);
    if (node.arity > 2) operands.c = use(node.args[2]);
    const TileOp op = typedOp(node.op, program_.node(node.args[0]).type);
    return emit(op, node.type == Type::boolean, operands);
  }

  /// A node that depends on query and key and does `op`, if nothing else uses it: what takes it may do its work too.
  const Node* onlyHere(int n, Op op) const {
    const Node& node = program_.node(n);
    return node.op == op && !unary(n) && uses_[size_t(n)] == 1 ? &node : nullptr;
  }

  /// A sum or difference of reals, one of them a product, in one sweep; none where there is no handler for it.
  Operand encodeProduct(const Node& node) {
    if (node.type != Type::real) return {};
    for (const int which : {1, 0}) {
      const Node* const factors = onlyHere(node.args[which], Op::mul);
      if (!factors) continue;
      Operands o{use(factors->args[0]), use(factors->args[1]), use(node.args[1 - which])};
      if (o.a.shape != Shape::panel) std::swap(o.a, o.b);
      if (o.a.shape != Shape::panel || o.b.shape == Shape::key || o.c.shape != Shape::panel) continue;
      const TileOp difference = which == 1 ? TileOp::minusProduct : TileOp::productMinus;
      return emit(node.op == Op::add ? TileOp::productPlus : difference, false, o);
    }
    return {};
  }

  /// A panel times a number: by the instruction that made it, if that is the last one and can.
  Operand scaled(Operand a, float factor) {
    const auto byItself = [](TileOp op) {
      switch (op) {
        case TileOp::addReal: return TileOp::addScaled;
        case TileOp::subReal: return TileOp::subScaled;
        case TileOp::mulReal: return TileOp::mulScaled;
        case TileOp::productPlus: return TileOp::productPlusScaled;
        case TileOp::productMinus: return TileOp::productMinusScaled;
        case TileOp::minusProduct: return TileOp::minusProductScaled;
        default: return TileOp::count;
      }
    };
    if (!panels_.empty() && panels_.back().out == a.index) {
      Instruction& last = panels_.back().instruction;
      if (const TileOp op = byItself(last.op()); op != TileOp::count) {
        last.become(op);
        last.value = factor;
        return a;
      }
    }
    return emit(TileOp::mulReal, false, {a, lane({LaneSource::From::immediate, -1, false, factor})});
  }

  /// The operand that holds a node's value.
  Operand use(int n) {
    if (!unary(n)) return values_[size_t(n)];
    const bool boolean = program_.node(n).type == Type::boolean;
    if (program_.depends(n) == onKey) {
      int& index = keys_[size_t(n)];
      if (index < 0) index = key({n, false});
      return {Shape::key, index, boolean};
    }
    int& index = lanes_[size_t(n)];
    if (index < 0) {
      const auto from = program_.depends(n) == onQuery ? LaneSource::From::query : LaneSource::From::head;
      index = lane({from, n, boolean, 0}).index;
    }
    return {Shape::lane, index, boolean};
  }

  Operand read(const Node& node) {
    const Table& table = program_.table(int(node.value));
    Instruction in;
    in.table = uint16_t(node.value);
    code_.readsTables = true;
    if (table.cells.empty()) {  // sizes of 0: every index is clamped to the one cell there is
      const Operand a = use(node.args[0]);
      if (table.rank == 1) return emit(TileOp::readOne, false, {a}, in);
      return emit(TileOp::readTwo, false, {a, use(node.args[1])}, in);
    }
    if (table.rank == 1) {
      in.size[0] = int32_t(table.shape[0]);
      return emit(TileOp::readOne, false, {use(node.args[0])}, in);
    }
    in.size[0] = int32_t(table.shape[0]);
    in.size[1] = int32_t(table.shape[1]);
    in.stride = in.size[1];
    if (table.rank == 2) return emit(TileOp::readTwo, false, {use(node.args[0]), use(node.args[1])}, in);
    const Operand plane = emit(TileOp::indexTwo, false, {use(node.args[0]), use(node.args[1])}, in);
    in.size[0] = int32_t(table.shape[0] * table.shape[1]);
    in.size[1] = in.stride = int32_t(table.shape[2]);
    return emit(TileOp::readTwo, false, {plane, use(node.args[2])}, in);
  }

  // --- poison ------------------------------------------------------------------------------------------------------

  Operand both(Operand a, Operand b) { return emit(TileOp::andBoolean, true, {a, b}); }
  Operand either(Operand a, Operand b) {
    if (a.none()) return b;
    if (b.none()) return a;
    return emit(TileOp::orBoolean, true, {a, b});
  }
  Operand no(Operand a) { return emit(TileOp::notBoolean, true, {a}); }

  Operand poisonOf(int n) {
    if (!unary(n)) return poisons_[size_t(n)];
    if (!(*uncertain_)[size_t(n)]) return {};
    if (program_.depends(n) == onKey) return {Shape::key, key({n, true}), true};
    const auto from =
        program_.depends(n) == onQuery ? LaneSource::From::queryUncertain : LaneSource::From::headUncertain;
    return lane({from, n, true, 0});
  }

  /// What decides for (`deciding` true: disjunction, else conjunction) whatever the other operand is.
  Operand decides(int n, bool deciding) {
    const Operand value = deciding ? use(n) : no(use(n)), poison = poisonOf(n);
    return poison.none() ? value : both(value, no(poison));
  }

  Operand encodePoison(int n) {
    const Node& node = program_.node(n);
    if (node.op == Op::land || node.op == Op::lor) {
      const Operand some = either(poisonOf(node.args[0]), poisonOf(node.args[1]));
      if (some.none()) return {};
      const bool deciding = node.op == Op::lor;
      return both(some, no(either(decides(node.args[0], deciding), decides(node.args[1], deciding))));
    }
    if (node.op == Op::select) {
      const Operand yes = poisonOf(node.args[1]), other = poisonOf(node.args[2]);
      const Operand condition = use(node.args[0]);
      Operand branch;
      if (!yes.none()) branch = both(condition, yes);
      if (!other.none()) branch = either(branch, both(no(condition), other));
      return either(poisonOf(node.args[0]), branch);
    }
    Operand some;
    for (int k = 0; k < node.arity; ++k) {
      some = either(some, poisonOf(node.args[k]));
      if (node.op != Op::table) continue;
      Instruction in;
      in.size[0] = int32_t(program_.table(int(node.value)).shape[k]);
      some = either(some, emit(TileOp::outside, true, {use(node.args[k])}, in));
    }
    return some;
  }

  // --- vectors and panels ------------------------------------------------------------------------------------------

  Operand lane(const LaneSource& source) {
    code_.laneSources.push_back(source);
    laneOrder_.push_back(int(code_.laneSources.size()) - 1);
    return {Shape::lane, int(laneOrder_.size()) - 1, source.boolean};
  }

  int key(const KeySource& source) {
    code_.keySources.push_back(source);
    return int(code_.keySources.size()) - 1;
  }

  /// The panel of a mask tensor, -1: of the scores.
  Operand input(int grid) {
    size_t k = 0;
    while (k < inputs_.size() && code_.inputs[k].grid != grid) ++k;
    if (k == inputs_.size()) {
      code_.inputs.push_back({grid});
      inputs_.push_back(nextVirtual_++);
    }
    return {Shape::panel, inputs_[k], grid >= 0};
  }

  void takeScores(double softcap) {
    scores_ = input(-1);
    if (softcap == 0) return;
    Instruction in;
    in.value = float(softcap);
    scores_ = emit(TileOp::softcap, false, {scores_}, in);
  }

  Operand panelOf(Operand a) {
    if (a.shape == Shape::panel) return a;
    Virtual copy;
    copy.a = a;
    copy.out = nextVirtual_++;
    const bool booleanKeys = a.shape == Shape::key && a.boolean;
    copy.instruction.handler = handlerOf(TileOp::copy, a.shape, booleanKeys ? Shape::key : Shape::panel);
    panels_.push_back(copy);
    return {Shape::panel, copy.out, a.boolean};
  }

  Operand emit(TileOp op, bool boolean, Operands o, Instruction instruction = {}) {
    const auto lanes = [](const Operand& x) { return x.none() || x.shape == Shape::lane; };
    Virtual made;
    made.instruction = instruction;
    if (lanes(o.a) && lanes(o.b) && lanes(o.c)) {
      made.instruction.handler = handlerOf(op, Shape::panel);
      made.a = o.a;
      made.b = o.b;
      made.c = o.c;
      laneOrder_.push_back(-1);
      made.out = int(laneOrder_.size()) - 1;
      laneCode_.push_back(made);
      return {Shape::lane, made.out, boolean};
    }
    fit(op, o);
    const auto shape = [](const Operand& x) { return x.none() ? Shape::panel : x.shape; };
    made.instruction.handler = handlerOf(op, shape(o.a), shape(o.b), shape(o.c));
    made.a = o.a;
    made.b = o.b;
    made.c = o.c;
    made.out = nextVirtual_++;
    panels_.push_back(made);
    return {Shape::panel, made.out, boolean};
  }

  /// Brings operands into shapes that the operation has a handler for.
  void fit(TileOp op, Operands& o) {
    switch (shapesOf(op)) {
      case Shapes::any: break;
      case Shapes::panels:
        o.a = panelOf(o.a);
        if (!o.b.none()) o.b = panelOf(o.b);
        break;
      case Shapes::product: o.c = panelOf(o.c); [[fallthrough]];
      case Shapes::divisor:
        o.a = panelOf(o.a);
        if (o.b.shape == Shape::key) o.b = panelOf(o.b);
        break;
      case Shapes::commutative:
        if (o.b.shape == Shape::panel || o.a.shape == Shape::key) std::swap(o.a, o.b);
        [[fallthrough]];
      case Shapes::ordered:
        if (o.a.shape == Shape::key && o.b.shape == Shape::key) o.a = panelOf(o.a);
        break;
      case Shapes::select:
        // Only a condition is read as a boolean of a key vector.
        if (o.b.boolean && o.b.shape == Shape::key) o.b = panelOf(o.b);
        if (o.c.boolean && o.c.shape == Shape::key) o.c = panelOf(o.c);
        break;
    }
  }

  void emitWords(Operand result) {
    Virtual made;
    made.a = result;
    made.instruction.handler = handlerOf(TileOp::words, result.shape);
    panels_.push_back(made);
  }

  // --- registers ---------------------------------------------------------------------------------------------------

  /// Drops what nobody reads, and gives virtual registers to few real ones. `result` comes to lie in register 0.
  TileCode finish(int result = -1) {
    const std::vector<int> slot = placeLanes();
    std::vector<int> lastUse(size_t(nextVirtual_), -1);
    if (result >= 0) lastUse[size_t(result)] = int(panels_.size());
    for (int i = int(panels_.size()) - 1; i >= 0; --i) {
      Virtual& v = panels_[size_t(i)];
      v.dead = v.out >= 0 && lastUse[size_t(v.out)] < 0;
      if (v.dead) continue;
      for (const Operand& o : {v.a, v.b, v.c}) {
        if (o.isPanel()) lastUse[size_t(o.index)] = std::max(lastUse[size_t(o.index)], i);
      }
    }

    std::vector<int> real(size_t(nextVirtual_), -1), free;
    code_.registers = int(inputs_.size());
    for (size_t k = 0; k < inputs_.size(); ++k) {
      real[size_t(inputs_[k])] = int(k);
      if (lastUse[size_t(inputs_[k])] < 0) free.push_back(int(k));
    }
    for (int i = 0; i < int(panels_.size()); ++i) {
      const Virtual& v = panels_[size_t(i)];
      if (v.dead) continue;
      Instruction in = v.instruction;
      const auto place = [&](const Operand& o) {
        if (o.none()) return uint16_t{0};
        if (o.shape == Shape::lane) return number(slot[size_t(o.index)]);
        if (o.shape == Shape::key) return number(o.index);
        code_.readsInputs |= std::find(inputs_.begin(), inputs_.end(), o.index) != inputs_.end();
        if (int& last = lastUse[size_t(o.index)]; last == i) {
          last = -1;  // freed once
          free.push_back(real[size_t(o.index)]);
        }
        return number(real[size_t(o.index)]);
      };
      in.a = place(v.a);
      in.b = place(v.b);
      in.c = place(v.c);
      if (v.out >= 0) {
        int& out = real[size_t(v.out)];
        if (v.out == result) {
          out = 0;  // the last instruction: nothing else is live
        } else if (free.empty()) {
          out = code_.registers++;
        } else {
          out = free.back();
          free.pop_back();
        }
        in.out = number(out);
      }
      code_.code.push_back(in);
    }
    return std::move(code_);
  }

  /// Sources come first, then what is computed of them. Gives the place of each lane vector.
  std::vector<int> placeLanes() {
    int computed = int(code_.laneSources.size());
    std::vector<int> slot(laneOrder_.size());
    for (size_t k = 0; k < laneOrder_.size(); ++k) slot[k] = laneOrder_[k] >= 0 ? laneOrder_[k] : computed++;
    code_.laneVectors = computed;
    for (const Virtual& v : laneCode_) {
      const auto place = [&](const Operand& o) { return o.none() ? uint16_t{0} : number(slot[size_t(o.index)]); };
      Instruction in = v.instruction;
      in.out = number(slot[size_t(v.out)]);
      in.a = place(v.a);
      in.b = place(v.b);
      in.c = place(v.c);
      code_.laneCode.push_back(in);
    }
    return slot;
  }

  static uint16_t number(int index) {
    if (index > UINT16_MAX) throw CodedError("ERR_UNSUPPORTED", "program", "a shorter program", "too many values");
    return uint16_t(index);
  }

  const Program& program_;
  const std::vector<bool>* uncertain_;
  TileCode code_;
  std::vector<Operand> values_, poisons_;
  std::vector<int> lanes_, keys_;  // vectors of unary nodes, -1: none yet
  std::vector<int> uses_;
  std::vector<int> inputs_;     // virtual registers of the inputs
  std::vector<int> laneOrder_;  // of each lane vector its source, -1: computed
  std::vector<Virtual> laneCode_, panels_;
  Operand scores_;
  int nextVirtual_ = 0;
};

}  // namespace

TileCode encodeMask(const Program& program) { return Encoder(program, nullptr).mask(); }

TileCode encodeScore(const Program& program, double softcap) { return Encoder(program, nullptr).score(softcap); }

TileCode encodePoison(const Program& program, double softcap, const std::vector<bool>& uncertain) {
  return Encoder(program, &uncertain).poison(softcap);
}

}  // namespace fused_attention
