#include "job.h"

#include "../error.h"
#include "call_arguments.h"
#include "parking.h"

namespace fused_attention::binding {

void Job::hold(napi_env env, const std::vector<napi_value>& views, napi_value settled) {
  const auto reference = [&](napi_value value) {
    napi_ref made = nullptr;
    if (napi_create_reference(env, value, 1, &made) != napi_ok) throw std::bad_alloc();
    return made;
  };
  views_.assign(views.size(), nullptr);
  for (size_t slot = 0; slot < views.size(); ++slot) {
    if (views[slot] != nullptr) views_[slot] = reference(views[slot]);
  }
  settled_ = reference(settled);
}

bool Job::cancel() {
  cancel_.raise();
  wakeParked();
  State waiting = State::waiting;
  return state_.compare_exchange_strong(waiting, State::withdrawn);
}

bool Job::begin() {
  State waiting = State::waiting;
  return state_.compare_exchange_strong(waiting, State::begun);
}

void Job::compute() {
  try {
    stopAt(Stage::queued, cancel_);
    if (cancel_.raised()) throw Cancelled();
    if (parksAt(Stage::running)) cancel_.stopAtFirstPoll([this] { stopAt(Stage::running, cancel_); });
    task_.compute(cancel_);
  } catch (...) {
    failure_ = currentFailure();
  }
  stopAt(Stage::finishing, cancel_);
}

void Job::settle(napi_env env) {
  // An abort counts up to the last moment, so a promise of an aborted call is never fulfilled.
  if (!failure_ && cancel_.raised()) failure_ = aborted();
  if (!failure_) writeResultsBack(env);
  if (task_.conclude) task_.conclude(!failure_);
  napi_value callback = nullptr, receiver = nullptr, argument = nullptr;
  napi_get_reference_value(env, settled_, &callback);
  abandon(env);
  if (callback == nullptr || napi_get_undefined(env, &receiver) != napi_ok) return;
  if (failure_) {
    argument = toError(env, *failure_);
  } else {
    napi_get_null(env, &argument);
  }
  // Fails only where the environment is being ended or the callback threw, which Node reports.
  if (argument != nullptr) napi_call_function(env, receiver, callback, 1, &argument, nullptr);
}

void Job::abandon(napi_env env) {
  dropReferences(env);
  task_ = {};
}

void Job::writeResultsBack(napi_env env) {
  try {
    for (const int slot : task_.writtenCopies) {
      napi_value view = nullptr;
      napi_get_reference_value(env, views_[static_cast<size_t>(slot)], &view);
      task_.writeBack(slot, view == nullptr ? Buffer{} : bufferOf(env, view, "call.buffers"));
    }
  } catch (...) {
    failure_ = currentFailure();
  }
}

void Job::dropReferences(napi_env env) {
  for (const napi_ref view : views_) {
    if (view != nullptr) napi_delete_reference(env, view);
  }
  views_.clear();
  if (settled_ != nullptr) napi_delete_reference(env, settled_);
  settled_ = nullptr;
}

}  // namespace fused_attention::binding
