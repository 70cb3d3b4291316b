#include "environment.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "../cpu/pool.h"
#include "../device_threads.h"
#include "../error.h"

namespace fused_attention::binding {

/// Shared with the jobs, so that a pool thread can let go of it after the environment is gone.
struct Environment::Mailbox {
  std::mutex mutex;
  std::condition_variable posted;
  std::deque<double> settled;  // ids in the order in which jobs ended
  size_t underWay = 0;         // jobs that are yet to be posted
  bool closed = false;
  napi_threadsafe_function doorbell = nullptr;

  void post(double id) {
    {
      const std::lock_guard lock(mutex);
      settled.push_back(id);
    }
    // Not under the mutex: whoever hears it wants that, and may take this thread's processor first. The doorbell is
    // there as long as this job counts as under way.
    napi_call_threadsafe_function(doorbell, nullptr, napi_tsfn_nonblocking);
    const std::lock_guard lock(mutex);
    if (--underWay == 0 && closed) posted.notify_all();
  }
};

namespace {

void require(napi_status status, const char* what) {
  if (status != napi_ok) throw std::runtime_error(std::string(what) + " failed");
}

}  // namespace

Environment::Environment(Napi::Env env) : env_(env), mailbox_(std::make_shared<Mailbox>()) {
  const Napi::String name = Napi::String::New(env, "fused-attention");
  require(
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &doorbell_),
      "napi_create_threadsafe_function");
  require(napi_unref_threadsafe_function(env, doorbell_), "napi_unref_threadsafe_function");
  mailbox_->doorbell = doorbell_;
  // Hooks run last in, first out: this one before that of the function above.
  require(napi_add_env_cleanup_hook(env, cleanUp, this), "napi_add_env_cleanup_hook");
}

double Environment::start(Job::Task task, const std::vector<napi_value>& views, const Napi::Value& settled) {
  if (!settled.IsFunction()) throw CodedError("ERR_INVALID_ARG_TYPE", "settled", "a function", "another value");
  const auto job = std::make_shared<Job>(std::move(task));
  try {
    job->hold(env_, views, settled);
    return queue(job);
  } catch (...) {
    job->abandon(env_);
    throw;
  }
}

double Environment::queue(const std::shared_ptr<Job>& job) {
  const double id = ++lastId_;
  jobs_.emplace(id, job);
  try {
    {
      const std::lock_guard lock(mailbox_->mutex);
      ++mailbox_->underWay;
    }
    auto work = [job, id, mailbox = mailbox_] {
      if (!job->begin()) return;
      job->compute();
      mailbox->post(id);
    };
    if (job->waitsForDevice())
      submitToDevice(std::move(work));
    else
      Pool::shared().submit(std::move(work));
  } catch (...) {
    const std::lock_guard lock(mailbox_->mutex);
    --mailbox_->underWay;
    jobs_.erase(id);
    throw;
  }
  if (jobs_.size() == 1) napi_ref_threadsafe_function(env_, doorbell_);
  return id;
}

void Environment::cancel(double id) {
  const auto found = jobs_.find(id);
  if (found != jobs_.end() && found->second->cancel()) mailbox_->post(id);
}

void Environment::deliver(napi_env env, napi_value, void* context, void*) {
  if (env != nullptr) static_cast<Environment*>(context)->settleNext(env);
}

/// One job a ring: each callback gets its own turn of the microtask queue, and its exception is its own.
void Environment::settleNext(napi_env env) {
  double id;
  {
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->settled.empty()) return;
    id = mailbox_->settled.front();
    mailbox_->settled.pop_front();
  }
  const auto found = jobs_.find(id);
  const std::shared_ptr<Job> job = std::move(found->second);
  jobs_.erase(found);
  if (jobs_.empty()) napi_unref_threadsafe_function(env, doorbell_);
  job->settle(env);
}

/// Runs when the environment goes away, JavaScript no longer: no job may touch its memory after this.
void Environment::cleanUp(void* data) {
  Environment& self = *static_cast<Environment*>(data);
  Mailbox& mailbox = *self.mailbox_;
  {
    const std::lock_guard lock(mailbox.mutex);
    mailbox.closed = true;
  }
  for (const auto& [id, job] : self.jobs_) {
    if (job->cancel()) mailbox.post(id);
  }
  {
    std::unique_lock lock(mailbox.mutex);
    mailbox.posted.wait(lock, [&] { return mailbox.underWay == 0; });
    mailbox.settled.clear();
  }
  for (const auto& [id, job] : self.jobs_) job->abandon(self.env_);
  self.jobs_.clear();
}

}  // namespace fused_attention::binding
