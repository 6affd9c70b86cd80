#include "evoke/train_pipeline.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/train_stream_core.h"

namespace evoke::client {

absl::StatusOr<std::unique_ptr<TrainPipeline>> TrainPipeline::Create(const Memory& memory,
                                                                     const TrainPipelineOptions& options) {
  if (options.window == 0) return absl::InvalidArgumentError("window is 0, expected >= 1");
  const absl::StatusOr<absl::Time> deadline = memory.core_->connection->DeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  return std::unique_ptr<TrainPipeline>(
      new TrainPipeline(std::make_shared<TrainStreamCore>(memory.core_, options)));
}

TrainPipeline::~TrainPipeline() {
  core_->Close();
}

Future<TrainStepResult> TrainPipeline::Submit(const TrainStepRequest& request) {
  std::promise<absl::StatusOr<TrainStepResult>> promise;
  Future<TrainStepResult> future = promise.get_future();
  core_->Submit(request, [promise = std::move(promise)](absl::StatusOr<TrainStepResult> result) mutable {
    promise.set_value(std::move(result));
  });
  return future;
}

void TrainPipeline::Submit(const TrainStepRequest& request, Completion<TrainStepResult> done) {
  core_->Submit(request, std::move(done));
}

absl::Status TrainPipeline::Drain() {
  return core_->Drain();
}

absl::StatusOr<std::vector<Future<TrainStepResult>>> TrainPipeline::Resume() {
  return core_->Resume();
}

size_t TrainPipeline::unanswered() const {
  return core_->unanswered();
}

}  // namespace evoke::client
