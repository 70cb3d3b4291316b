// The fundamental types of PTX.
#pragma once

#include <cstdint>
#include <string_view>

namespace fused_attention::ptx {

enum class Type : uint8_t {
  None,
  Pred,
  B8,
  B16,
  B32,
  B64,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F64
};

// `name` without its dot; None when it names no type.
inline Type typeOf(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    Type type;
  } names[] = {{"pred", Type::Pred},     {"b8", Type::B8},     {"b16", Type::B16},     {"b32", Type::B32},
               {"b64", Type::B64},       {"u8", Type::U8},     {"u16", Type::U16},     {"u32", Type::U32},
               {"u64", Type::U64},       {"s8", Type::S8},     {"s16", Type::S16},     {"s32", Type::S32},
               {"s64", Type::S64},       {"f16", Type::F16},   {"f16x2", Type::F16x2}, {"bf16", Type::BF16},
               {"bf16x2", Type::BF16x2}, {"tf32", Type::TF32}, {"f32", Type::F32},     {"f64", Type::F64}};
  for (const auto& entry : names) {
    if (entry.name == name) return entry.type;
  }
  return Type::None;
}

inline int bytesOf(Type type) {
  switch (type) {
    case Type::B8:
    case Type::U8:
    case Type::S8: return 1;
    case Type::B16:
    case Type::U16:
    case Type::S16:
    case Type::F16:
    case Type::BF16: return 2;
    case Type::B64:
    case Type::U64:
    case Type::S64:
    case Type::F64: return 8;
    case Type::None:
    case Type::Pred: return 0;
    default: return 4;
  }
}

inline bool isSigned(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 || type == Type::S64;
}

inline bool isFloat(Type type) {
  return type == Type::F16 || type == Type::BF16 || type == Type::TF32 || type == Type::F32 || type == Type::F64;
}

}  // namespace fused_attention::ptx
