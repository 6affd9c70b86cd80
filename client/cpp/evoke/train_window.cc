#include "evoke/train_window.h"

#include <algorithm>
#include <iterator>

namespace evoke::client {

PipelinedStepPtr TrainWindow::NextToWrite(uint64_t turn_seen) {
  if (written_ == steps_.size()) return nullptr;
  const PipelinedStepPtr& step = steps_[written_];
  const uint64_t number = number_ + written_;
  if (!opened_after_.has_value()) opened_after_ = turn_seen;
  v1::Mutation* mutation = step->request.mutable_mutation();
  mutation->set_session(session_.ToBytes());
  mutation->set_number(number);
  mutation->set_first_unacknowledged(number_);
  mutation->set_opened_after(number == 1 ? *opened_after_ : 0);
  ++written_;
  return step;
}

PipelinedStepPtr TrainWindow::Answered() {
  PipelinedStepPtr step = std::move(steps_.front());
  steps_.pop_front();
  ++number_;
  --written_;
  if (unknown_ > 0) --unknown_;
  if (copies_ > 0) --copies_;
  return step;
}

void TrainWindow::StreamEnded(bool unknown) {
  if (unknown) unknown_ = std::max(unknown_, written_);
  copies_ = std::max(copies_, written_);
  written_ = 0;
}

PipelinedStepPtr TrainWindow::DropRefused() {
  PipelinedStepPtr step = std::move(steps_.front());
  steps_.pop_front();
  if (copies_ > 1) NewSession();
  copies_ = 0;
  return step;
}

std::vector<PipelinedStepPtr> TrainWindow::TakeAll() {
  if (unknown_ > 0) unknown_ = std::max(unknown_, copies_);
  std::vector<PipelinedStepPtr> steps(std::make_move_iterator(steps_.begin()),
                                      std::make_move_iterator(steps_.end()));
  steps_.clear();
  return steps;
}

void TrainWindow::PutBack(std::vector<PipelinedStepPtr> steps) {
  steps_.assign(std::make_move_iterator(steps.begin()), std::make_move_iterator(steps.end()));
  unknown_ = copies_ = steps_.size();
}

void TrainWindow::NewSession() {
  session_ = Id128::Random();
  number_ = 1;
  opened_after_.reset();
  copies_ = 0;
}

}  // namespace evoke::client
