// What the addon of a communicator exports: the `NativeCommunicator` of lib/native-mpi.cts, function by function.
#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../comm/mpi_communicator.h"
#include "../error.h"
#include "exports.h"

namespace fused_attention::binding {

namespace {

/// The process's end. Never freed: the engine may write to memory of transfers as long as the process lives.
struct End {
  /// Whose it is: MPI takes calls of one thread.
  napi_env owner = nullptr;
  std::unique_ptr<Communicator> communicator;
  std::unordered_map<int64_t, Napi::ObjectReference> memory;
  /// Of transfers that failed as they began: the engine may still have pieces of them.
  std::vector<Napi::ObjectReference> failed;
};

End& end() {
  static End& only = *new End;
  return only;
}

bool isOwner(napi_env env) { return end().owner == env; }

Communicator& communicator(const Napi::CallbackInfo& info) {
  if (!isOwner(info.Env()) || !end().communicator) {
    throw CodedError("ERR_INTERNAL", "communicator", "one that this thread has joined", "none");
  }
  return *end().communicator;
}

int integerOf(const Napi::Value& value, const char* argument) {
  if (!value.IsNumber()) throw CodedError("ERR_INVALID_ARG_TYPE", argument, "a number", "another value");
  return value.As<Napi::Number>().Int32Value();
}

int rankOf(const Napi::CallbackInfo& info, const Communicator& ranks) {
  const int rank = integerOf(info[0], "rank");
  if (rank < 0 || rank >= ranks.size()) throw CodedError("ERR_OUT_OF_RANGE", "rank", "a rank", std::to_string(rank));
  return rank;
}

Napi::Value join(const Napi::CallbackInfo& info) {
  if (end().owner != nullptr) throw CodedError("ERR_INTERNAL", "communicator", "to be joined once", "twice");
  end().owner = info.Env();
  joinMpi();
  return info.Env().Undefined();
}

Napi::Value joined(const Napi::CallbackInfo& info) {
  if (!isOwner(info.Env())) return Napi::Boolean::New(info.Env(), false);
  if (!end().communicator) end().communicator = joinedMpi();
  return Napi::Boolean::New(info.Env(), end().communicator != nullptr);
}

Napi::Value rank(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), communicator(info).rank()); }
Napi::Value size(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), communicator(info).size()); }

Napi::Value tags(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), communicator(info).tags()); }

Napi::Value post(const Napi::CallbackInfo& info) {
  Communicator& ranks = communicator(info);
  if (!info[1].IsString()) throw CodedError("ERR_INVALID_ARG_TYPE", "text", "a string", "another value");
  ranks.post(rankOf(info, ranks), info[1].As<Napi::String>().Utf8Value());
  return info.Env().Undefined();
}

template <bool sends>
Napi::Value transfer(const Napi::CallbackInfo& info) {
  Communicator& ranks = communicator(info);
  if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw CodedError("ERR_INVALID_ARG_TYPE", "bytes", "a Uint8Array", "another value");
  }
  auto bytes = info[2].As<Napi::Uint8Array>();
  const int peer = rankOf(info, ranks), tag = integerOf(info[1], "tag");
  const auto data = reinterpret_cast<std::byte*>(bytes.Data());
  Napi::ObjectReference reference = Napi::Persistent(bytes.As<Napi::Object>());
  try {
    const int64_t id =
        sends ? ranks.send(peer, tag, data, bytes.ByteLength()) : ranks.receive(peer, tag, data, bytes.ByteLength());
    end().memory.emplace(id, std::move(reference));
    return Napi::Number::New(info.Env(), double(id));
  } catch (...) {
    end().failed.push_back(std::move(reference));
    throw;
  }
}

Napi::Array numbers(Napi::Env env, const std::vector<int64_t>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (size_t n = 0; n < values.size(); ++n) array[uint32_t(n)] = double(values[n]);
  return array;
}

Napi::Value poll(const Napi::CallbackInfo& info) {
  const Progress progress = communicator(info).poll();
  if (progress.moved.empty() && progress.letters.empty()) return info.Env().Null();
  for (const int64_t id : progress.done) end().memory.erase(id);
  Napi::Array letters = Napi::Array::New(info.Env(), progress.letters.size());
  for (size_t n = 0; n < progress.letters.size(); ++n) {
    Napi::Object letter = Napi::Object::New(info.Env());
    letter["from"] = progress.letters[n].from;
    letter["text"] = progress.letters[n].text;
    letters[uint32_t(n)] = letter;
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result["moved"] = numbers(info.Env(), progress.moved);
  result["done"] = numbers(info.Env(), progress.done);
  result["letters"] = letters;
  return result;
}

Napi::Value finish(const Napi::CallbackInfo& info) {
  communicator(info).finish();
  return info.Env().Undefined();
}

Napi::Value limit(const Napi::CallbackInfo& info) {
  communicator(info).limit(integerOf(info[0], "milliseconds"));
  return info.Env().Undefined();
}

Napi::Value terminated(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), communicator(info).terminated());
}

Napi::Value version(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), FUSED_ATTENTION_VERSION); }

Napi::Object initialize(Napi::Env, Napi::Object exports) {
  addExport<version>(exports, "version");
  addExport<join>(exports, "join");
  addExport<joined>(exports, "joined");
  addExport<rank>(exports, "rank");
  addExport<size>(exports, "size");
  addExport<tags>(exports, "tags");
  addExport<post>(exports, "post");
  addExport<transfer<true>>(exports, "send");
  addExport<transfer<false>>(exports, "receive");
  addExport<poll>(exports, "poll");
  addExport<finish>(exports, "finish");
  addExport<limit>(exports, "limit");
  addExport<terminated>(exports, "terminated");
  return exports;
}

}  // namespace

NODE_API_MODULE(fused_attention_mpi, initialize)

}  // namespace fused_attention::binding
