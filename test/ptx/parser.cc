#include "parser.h"

#include <bit>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <unordered_map>

#include "lexer.h"

namespace fused_attention::ptx {

namespace {

// One `{ }` of a function: registers and labels inside it hide those outside.
struct Scope {
  int parent;
  std::unordered_map<std::string_view, int> registers;
  std::unordered_map<std::string_view, int> labels;
  std::unordered_map<std::string_view, std::string> variables;  // renamed when the name was taken
};

class Parser {
 public:
  explicit Parser(std::string source) : module_(std::make_shared<Module>()) {
    module_->source = std::move(source);
    tokens_ = tokenize(module_->source);
  }

  std::shared_ptr<const Module> parse() {
    while (peek().kind != Token::End) topLevel();
    return module_;
  }

 private:
  // --- tokens ---
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(std::string_view text) const { return peek().text == text && peek().kind != Token::String; }
  bool accept(std::string_view text) {
    if (!is(text)) return false;
    next();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail("expected '" + std::string(text) + "'");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("PTX line " + std::to_string(peek().line) + ": " + what + " before '" +
                             std::string(peek().text) + "'");
  }
  std::string_view word() {
    if (peek().kind != Token::Word) fail("expected a name");
    return next().text;
  }
  void skipPast(std::string_view text) {
    while (!is(text) && peek().kind != Token::End) next();
    expect(text);
  }

  // --- numbers ---
  int64_t unsignedNumber(std::string_view text) const {
    while (!text.empty() && (text.back() == 'U' || text.back() == 'u')) text.remove_suffix(1);
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
      base = 16;
      text.remove_prefix(2);
    } else if (text.size() > 2 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) {
      base = 2;
      text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
      base = 8;
    }
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size()) fail("not a number: " + std::string(text));
    return static_cast<int64_t>(value);
  }
  int64_t integer() {
    const bool negative = accept("-");
    if (peek().kind != Token::Number) fail("expected a number");
    const int64_t value = unsignedNumber(next().text);
    return negative ? static_cast<int64_t>(0 - static_cast<uint64_t>(value)) : value;
  }
  Operand number() {
    Operand operand;
    const bool negative = accept("-");
    const std::string_view text = next().text;
    double value;
    if (text.size() == 10 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F')) {
      value =
          std::bit_cast<float>(static_cast<uint32_t>(std::strtoul(std::string(text.substr(2)).c_str(), nullptr, 16)));
    } else if (text.size() == 18 && text[0] == '0' && (text[1] == 'd' || text[1] == 'D')) {
      value =
          std::bit_cast<double>(static_cast<uint64_t>(std::strtoull(std::string(text.substr(2)).c_str(), nullptr, 16)));
    } else if (text.find('.') != std::string_view::npos) {
      value = std::strtod(std::string(text).c_str(), nullptr);
    } else {
      operand.kind = Operand::Integer;
      operand.value = unsignedNumber(text);
      if (negative) operand.value = static_cast<int64_t>(0 - static_cast<uint64_t>(operand.value));
      return operand;
    }
    operand.kind = Operand::Float;
    operand.value = std::bit_cast<int64_t>(negative ? -value : value);
    return operand;
  }

  // --- top level ---
  void topLevel() {
    const std::string_view directive = word();
    if (directive == ".version") {
      module_->version = next().text;
    } else if (directive == ".target") {
      module_->target = word();
      while (accept(",")) word();
    } else if (directive == ".address_size") {
      if (integer() != 64) fail("only 64-bit addresses are supported");
    } else if (directive == ".file") {
      const int line = peek().line;
      while (peek().line == line && peek().kind != Token::End) next();
    } else if (directive == ".section") {
      skipPast("{");
      skipPast("}");
    } else if (directive == ".pragma" || directive == ".alias") {
      skipPast(";");
    } else {
      bool external = directive == ".extern";
      std::string_view kind = directive;
      while (kind == ".visible" || kind == ".extern" || kind == ".weak" || kind == ".common") {
        external |= kind == ".extern";
        kind = word();
      }
      if (kind == ".entry" || kind == ".func") {
        function(kind == ".entry");
      } else {
        declaration(spaceOf(kind), external, module_->variables, nullptr);
      }
    }
  }

  Space spaceOf(std::string_view directive) const {
    if (directive == ".global") return Space::Global;
    if (directive == ".const") return Space::Const;
    if (directive == ".shared") return Space::Shared;
    if (directive == ".local") return Space::Local;
    if (directive == ".param") return Space::Param;
    fail("unknown directive " + std::string(directive));
  }

  // After the state space: [.align n] [.attribute(..)] .type name [dims] [= initial], ...;
  void declaration(Space space, bool external, std::vector<Variable>& into, Scope* scope) {
    Variable prototype = variableType(space);
    do {
      Variable variable = prototype;
      variable.external = external && space == Space::Shared;
      const std::string_view name = word();
      variable.name = name;
      if (scope != nullptr) {
        variable.name += "#" + std::to_string(scopes_.size() - 1) + "." + std::to_string(into.size());
        scope->variables[name] = variable.name;
      }
      dimensions(variable);
      if (accept("=")) {
        const int element = bytesOf(variable.type);
        initializer(variable, element);
        if (variable.bytes == 0) variable.bytes = static_cast<int64_t>(variable.initial.size());
        variable.initial.resize(variable.bytes);
      }
      into.push_back(std::move(variable));
    } while (accept(","));
    expect(";");
  }

  Variable variableType(Space space) {
    Variable variable;
    variable.space = space;
    int alignment = 0, lanes = 1;
    for (;;) {
      const std::string_view token = word();
      if (token == ".align") {
        alignment = static_cast<int>(integer());
      } else if (token == ".attribute") {
        skipPast(")");
      } else if (token == ".ptr" || token == ".managed" || spaceWord(token)) {
        continue;
      } else if (token == ".v2" || token == ".v4") {
        lanes = token[2] - '0';
      } else {
        variable.type = typeOf(token.substr(1));
        if (token[0] != '.' || variable.type == Type::None) fail("expected a type");
        break;
      }
    }
    // Of a pointer parameter: what it points to, which binds nobody here.
    while (is(".ptr") || is(".align") || spaceWord(peek().text)) {
      if (word() == ".align") integer();
    }
    variable.bytes = bytesOf(variable.type) * lanes;
    variable.alignment = alignment > 0 ? alignment : static_cast<int>(std::max<int64_t>(variable.bytes, 1));
    return variable;
  }
  static bool spaceWord(std::string_view token) {
    return token == ".global" || token == ".const" || token == ".shared" || token == ".local";
  }

  void dimensions(Variable& variable) {
    while (accept("[")) {
      if (accept("]")) {
        variable.bytes = 0;
      } else {
        variable.bytes *= integer();
        expect("]");
      }
    }
  }

  void initializer(Variable& variable, int element) {
    if (accept("{")) {
      if (accept("}")) return;
      do initializer(variable, element);
      while (accept(","));
      expect("}");
      return;
    }
    uint64_t bits = 0;
    if (peek().kind == Token::Word) {
      std::string_view name = word();
      if (name == "generic") {
        expect("(");
        name = word();
        expect(")");
      }
      const int64_t addend = accept("+") ? integer() : 0;
      variable.relocations.push_back({static_cast<int64_t>(variable.initial.size()), std::string(name), addend});
    } else {
      const Operand value = number();
      bits = static_cast<uint64_t>(value.value);
      if (value.kind == Operand::Float && element == 4) {
        bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(value.value)));
      }
    }
    for (int byte = 0; byte < element; ++byte) variable.initial.push_back(static_cast<uint8_t>(bits >> (8 * byte)));
  }

  // --- functions ---
  std::vector<Variable> parameters() {
    std::vector<Variable> list;
    expect("(");
    if (accept(")")) return list;
    do {
      const std::string_view space = word();
      if (space != ".param" && space != ".reg") fail("expected .param");
      Variable variable = variableType(Space::Param);
      variable.name = word();
      dimensions(variable);
      list.push_back(std::move(variable));
    } while (accept(","));
    expect(")");
    return list;
  }

  void function(bool entry) {
    Function function;
    function.entry = entry;
    while (is(".attribute")) skipPast(")");
    if (!entry && is("(")) function.results = parameters();
    function.name = word();
    if (is("(")) function.parameters = parameters();
    while (!is("{") && !is(";")) performanceDirective(function);
    if (accept(";")) {
      module_->functions.try_emplace(function.name, std::move(function));
      return;
    }
    function.defined = true;
    function_ = &function;
    scopes_.clear();
    pendingLabels_.clear();
    block(-1);
    resolveLabels();
    const std::string name = function.name;
    module_->functions[name] = std::move(function);
  }

  void performanceDirective(Function& function) {
    const std::string_view directive = word();
    if (directive == ".maxntid" || directive == ".reqntid") {
      int threads = static_cast<int>(integer());
      while (accept(",")) threads *= static_cast<int>(integer());
      function.maxThreads = threads;
      function.exactThreads = directive == ".reqntid";
    } else if (directive == ".pragma") {
      skipPast(";");
    } else {
      while (peek().kind == Token::Number || is(",")) next();
    }
  }

  void block(int parent) {
    expect("{");
    const int scope = static_cast<int>(scopes_.size());
    scopes_.push_back({parent, {}, {}, {}});
    while (!accept("}")) {
      if (peek().kind == Token::End) fail("a function without its end");
      statement(scope);
    }
  }

  void statement(int scope) {
    if (is("{")) return block(scope);
    if (accept(";")) return;
    if (is("@")) return instruction(scope);
    if (peek().kind == Token::Word && peek(1).text == ":") {
      const std::string_view label = word();
      next();
      scopes_[scope].labels[label] = static_cast<int>(function_->statements.size());
      if (is(".branchtargets") || is(".calltargets") || is(".callprototype")) skipPast(";");
      return;
    }
    if (peek().text.starts_with('.')) return directive(scope);
    instruction(scope);
  }

  void directive(int scope) {
    const std::string_view directive = word();
    if (directive == ".reg") {
      registers(scope);
    } else if (directive == ".loc") {
      const int line = peek().line;
      while (peek().line == line && !is(";")) next();
    } else if (directive == ".pragma") {
      skipPast(";");
    } else {
      declaration(spaceOf(directive), false, function_->variables, &scopes_[scope]);
    }
  }

  void registers(int scope) {
    Type type;
    do type = typeOf(word().substr(1));
    while (type == Type::None && peek().kind == Token::Word && peek().text[0] == '.');
    if (type == Type::None) fail("a register of an unsupported type");
    do {
      const std::string_view name = word();
      if (accept("<")) {
        const int64_t count = integer();
        expect(">");
        for (int64_t i = 0; i < count; ++i) {
          names_.push_back(std::make_unique<std::string>(std::string(name) + std::to_string(i)));
          addRegister(scope, *names_.back(), type);
        }
      } else {
        addRegister(scope, name, type);
      }
    } while (accept(","));
    expect(";");
  }

  int addRegister(int scope, std::string_view name, Type type, bool special = false) {
    const int index = static_cast<int>(function_->registers.size());
    function_->registers.push_back({std::string(name), type, special});
    scopes_[scope].registers[name] = index;
    return index;
  }

  int findRegister(int scope, std::string_view name) {
    for (int s = scope; s >= 0; s = scopes_[s].parent) {
      if (const auto found = scopes_[s].registers.find(name); found != scopes_[s].registers.end()) return found->second;
    }
    if (name[0] != '%') return -1;
    const bool wide = name == "%clock64" || name == "%globaltimer" || name.ends_with("_size_64") || name == "%gridid";
    return addRegister(0, name, wide ? Type::B64 : Type::B32, true);
  }

  void instruction(int scope) {
    Statement statement;
    statement.line = peek().line;
    if (accept("@")) {
      statement.guardNegated = accept("!");
      statement.guard = findRegister(scope, word());
    }
    statement.opcode = word();
    if (!is(";")) {
      do statement.operands.push_back(operand(scope));
      while (accept(","));
    }
    expect(";");
    for (size_t i = 0; i < statement.operands.size(); ++i) {
      if (statement.operands[i].kind == Operand::Symbol) {
        pendingLabels_.push_back({function_->statements.size(), i, scope});
      }
    }
    function_->statements.push_back(std::move(statement));
  }

  Operand operand(int scope) {
    Operand first = simpleOperand(scope);
    if (!accept("|")) return first;
    Operand pair;
    pair.kind = Operand::Pair;
    pair.parts = {std::move(first), simpleOperand(scope)};
    return pair;
  }

  Operand simpleOperand(int scope) {
    Operand result;
    if (is("{") || is("(")) {
      const bool vector = next().text == "{";
      result.kind = vector ? Operand::Vector : Operand::List;
      const std::string_view end = vector ? "}" : ")";
      if (accept(end)) return result;
      do result.parts.push_back(operand(scope));
      while (accept(","));
      expect(end);
    } else if (accept("[")) {
      result.kind = Operand::Address;
      if (peek().kind == Token::Word) {
        base(scope, result);
        if (accept("+")) {
          result.value = integer();
        } else if (is("-")) {
          result.value = integer();
        }
      } else {
        result.value = integer();
      }
      expect("]");
    } else if (peek().kind == Token::Number || is("-")) {
      return number();
    } else if (accept("!")) {
      result = simpleOperand(scope);
      result.negated = true;
    } else if (accept("_")) {
      result.kind = Operand::Sink;
    } else {
      result.kind = Operand::Symbol;
      base(scope, result);
      if (result.reg >= 0) {
        result.kind = Operand::Register;
      } else if (accept("+")) {
        result.value = integer();
      }
    }
    return result;
  }

  void base(int scope, Operand& operand) {
    const std::string_view name = word();
    operand.reg = findRegister(scope, name);
    if (operand.reg >= 0) return;
    operand.symbol = name;
    for (int s = scope; s >= 0; s = scopes_[s].parent) {
      if (const auto found = scopes_[s].variables.find(name); found != scopes_[s].variables.end()) {
        operand.symbol = found->second;
        return;
      }
    }
  }

  void resolveLabels() {
    for (const auto& pending : pendingLabels_) {
      Operand& operand = function_->statements[pending.statement].operands[pending.operand];
      for (int s = pending.scope; s >= 0 && operand.label < 0; s = scopes_[s].parent) {
        const auto found = scopes_[s].labels.find(operand.symbol);
        if (found != scopes_[s].labels.end()) operand.label = found->second;
      }
    }
  }

  struct PendingLabel {
    size_t statement, operand;
    int scope;
  };

  std::shared_ptr<Module> module_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  Function* function_ = nullptr;
  std::vector<Scope> scopes_;
  std::vector<PendingLabel> pendingLabels_;
  std::vector<std::unique_ptr<std::string>> names_;  // of ranges of registers, for the scopes' keys
};

}  // namespace

std::shared_ptr<const Module> parseModule(std::string source) { return Parser(std::move(source)).parse(); }

}  // namespace fused_attention::ptx
