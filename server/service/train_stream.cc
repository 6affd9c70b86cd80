#include "server/service/train_stream.h"

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/time/clock.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/access.h"
#include "server/service/convert_observe.h"
#include "server/service/resolve.h"
#include "server/service/status_mapping.h"
#include "server/service/stored_reply.h"

namespace evoke {

// Operations of the reactor are started by one thread at a time, in Advance, and Finish last: until then the reactor and
// the context are there, and from then on nobody touches them.
class TrainStream::Flow : public std::enable_shared_from_this<Flow> {
 public:
  Flow(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context, TrainStream* stream)
      : method_(method),
        shared_(shared),
        context_(context),
        stream_(stream),
        window_(shared->engine.max_unacknowledged),
        deadline_(DeadlineOf(*context)),
        client_(absl::HashOf(context->peer())),
        tag_(TakeTag(*shared, context)) {}

  void Begin() {
    // A stream of nobody known is not kept open to wait for its first request.
    absl::StatusOr<std::shared_ptr<const Principal>> principal = Authenticate(*shared_, *context_);
    absl::Status allowed = principal.ok() ? AuthorizeMethod(**principal, method_.name) : principal.status();
    if (!allowed.ok()) Answer(AddItem(), std::move(allowed));
    // Not before it is known by what name it is taken out again.
    SetAdvancing(true);
    registered_ = shared_->streams.Add([weak = weak_from_this()] {
      if (const auto flow = weak.lock()) flow->Advance();
    });
    SetAdvancing(false);
    Advance();
  }

  void Read(bool ok) {
    bool take;
    {
      MutexLock lock(&mu_);
      take = ok && !finished_;
    }
    if (take) Take();
    {
      MutexLock lock(&mu_);
      reading_ = false;
      half_closed_ |= !ok;
    }
    Advance();
  }

  void Written(bool ok) {
    {
      MutexLock lock(&mu_);
      writing_ = false;
      items_.pop_front();
    }
    shared_->mutations.End();
    if (!ok) cancelled_->store(true, std::memory_order_relaxed);
    Advance();
  }

  void Cancel() {
    cancelled_->store(true, std::memory_order_relaxed);
    Advance();
  }

  // For SubmitCall.
  absl::Time deadline() const { return deadline_; }
  uint64_t client() const { return client_; }
  const std::shared_ptr<const RequestTag>& tag() const { return tag_; }
  std::function<bool()> cancelled() const {
    return [flag = cancelled_] { return flag->load(std::memory_order_relaxed); };
  }

  grpc::ByteBuffer read_buffer, write_buffer;  // of the operations under way

 private:
  struct Item {
    absl::Time began;
    Admitted admitted;  // of whoever reads it, and then of whoever answers it
    std::optional<absl::StatusOr<std::string>> answer;
  };
  enum class Start { kNothing, kRead, kWrite, kFinish };

  std::shared_ptr<Item> AddItem() {
    auto item = std::make_shared<Item>();
    item->began = absl::Now();
    shared_->mutations.Begin();
    MutexLock lock(&mu_);
    items_.push_back(item);
    return item;
  }

  void SetAdvancing(bool advancing) {
    MutexLock lock(&mu_);
    advancing_ = advancing;
  }

  void Take() {
    const std::shared_ptr<Item> item = AddItem();
    std::string_view memory;
    ResolvedMemory resolved;
    absl::StatusOr<ObserveCall> call = ToCall(item.get(), &resolved, &memory);
    read_buffer.Clear();
    if (call.ok()) {
      call->done = [flow = shared_from_this(), item](absl::StatusOr<std::string> stored) {
        flow->Answer(item, std::move(stored));
        flow->Advance();
      };
      return SubmitCall(resolved, *this, *std::move(call));
    }
    if (shared_->observer != nullptr) shared_->observer->OnRefused(memory, ReasonOf(call.status()));
    Answer(item, call.status());
  }

  absl::StatusOr<ObserveCall> ToCall(Item* item, ResolvedMemory* resolved, std::string_view* memory) {
    v1::TrainStepRequest request;
    EVOKE_RETURN_IF_ERROR(Admit(*shared_, *context_, method_.name, read_buffer, &request, &item->admitted));
    EVOKE_ASSIGN_OR_RETURN(*resolved, Resolve(*shared_, request.memory()));
    const Executor& executor = *resolved->executor;
    *memory = executor.name();
    EVOKE_ASSIGN_OR_RETURN(ObserveCall call,
                           ToObserveCall(std::move(request), {executor.name(), executor.spec(), *shared_->limits}));
    if (call.writes() && shared_->draining.load()) return DrainingError();
    return call;
  }

  static std::string ReasonOf(const absl::Status& status) {
    const std::optional<ErrorDetail> detail = DetailOf(status);
    return detail ? detail->reason : absl::StatusCodeToString(status.code());
  }

  void Answer(const std::shared_ptr<Item>& item, absl::StatusOr<std::string> answer) {
    if (!answer.ok()) answer = ForClient(answer.status(), method_.name, *tag_);
    RecordRequest(*shared_, {method_.name, item->admitted, *tag_, answer.status(), absl::Now() - item->began});
    bool nobody_waits;
    {
      MutexLock lock(&mu_);
      refused_ |= !answer.ok();
      item->answer = std::move(answer);
      nobody_waits = finished_;
    }
    if (nobody_waits) shared_->mutations.End();  // from here on the services may be gone
  }

  Start Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (finished_) return Start::kNothing;
    const bool draining = shared_->draining.load();
    if (!writing_) {
      if (cancelled_->load(std::memory_order_relaxed)) {
        end_ = WhyOver(deadline_, absl::Now(), /*cancelled=*/true);
      } else if (!items_.empty() && items_.front()->answer) {
        if (items_.front()->answer->ok()) return Start::kWrite;
        end_ = items_.front()->answer->status();
      } else if (items_.empty() && !reading_ && half_closed_) {
        end_ = absl::OkStatus();
      } else if (items_.empty() && draining) {
        end_ = DrainingError();
      }
      if (end_) return Start::kFinish;
    }
    const bool may_read = !reading_ && !half_closed_ && !refused_ && !draining && items_.size() < window_;
    return may_read ? Start::kRead : Start::kNothing;
  }

  void Advance() {
    MutexLock lock(&mu_);
    again_ = true;
    if (std::exchange(advancing_, true)) return;
    while (std::exchange(again_, false)) {
      for (Start start = Next(); start != Start::kNothing; start = Next()) Perform(start);
    }
    advancing_ = false;
  }

  // gRPC may run a reaction before an operation returns, so they start without the lock.
  void Perform(Start start) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    switch (start) {
      case Start::kNothing:
        return;
      case Start::kRead:
        reading_ = true;
        mu_.Unlock();
        stream_->StartRead(&read_buffer);
        break;
      case Start::kWrite: {
        writing_ = true;
        std::string stored = *std::move(*items_.front()->answer);
        mu_.Unlock();
        write_buffer = StoredReply(std::move(stored), *shared_);
        stream_->StartWrite(&write_buffer);
        break;
      }
      case Start::kFinish: {
        finished_ = true;
        const absl::Status end = *end_;
        size_t answered = 0;  // the others end when they are
        for (const auto& item : items_) answered += item->answer.has_value();
        items_.clear();
        mu_.Unlock();
        shared_->streams.Remove(registered_);
        // From Finish on the reactor may be gone, and after End the services may.
        ServiceContext* const shared = shared_;
        stream_->Finish(ToGrpcStatus(end, tag_->request_id));
        for (size_t i = 0; i < answered; ++i) shared->mutations.End();
        break;
      }
    }
    mu_.Lock();
  }

  const Method& method_;
  ServiceContext* const shared_;
  grpc::CallbackServerContext* const context_;  // these two: until Finish
  TrainStream* const stream_;
  const size_t window_;
  const absl::Time deadline_;
  const uint64_t client_;
  const std::shared_ptr<const RequestTag> tag_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);  // a hint
  uint64_t registered_ = 0;

  Mutex mu_;
  std::deque<std::shared_ptr<Item>> items_ ABSL_GUARDED_BY(mu_);  // whose reply is not handed over; the oldest first
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;  // the first item
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool refused_ ABSL_GUARDED_BY(mu_) = false;  // one of the items, or one before
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool advancing_ ABSL_GUARDED_BY(mu_) = false;
  bool again_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

TrainStream::TrainStream(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context)
    : flow_(std::make_shared<Flow>(method, shared, context, this)) {
  flow_->Begin();
}

void TrainStream::OnReadDone(bool ok) { flow_->Read(ok); }
void TrainStream::OnWriteDone(bool ok) { flow_->Written(ok); }
void TrainStream::OnCancel() { flow_->Cancel(); }

}  // namespace evoke
