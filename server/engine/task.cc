#include "server/engine/task.h"

#include <algorithm>
#include <utility>

namespace evoke {

uint32_t Task::mailbox_rows() const {
  if (const auto* query = std::get_if<QueryCall>(&call)) return std::max<uint32_t>(1, query->rows.count());
  if (const auto* observe = std::get_if<ObserveCall>(&call)) return std::max<uint32_t>(1, observe->rows.count());
  if (const auto* import = std::get_if<ImportCall>(&call)) return std::max<uint32_t>(1, static_cast<uint32_t>(import->rows.size()));
  return 1;
}

namespace {

uint64_t BytesOf(const RowSet& rows) {
  return (rows.unit.size() + rows.norms.size()) * sizeof(float) + rows.skip.size();
}
uint64_t BytesOf(const QueryCall& call) { return BytesOf(call.rows); }
uint64_t BytesOf(const ObserveCall& call) {
  uint64_t bytes = BytesOf(call.rows) + call.values.size() * sizeof(int64_t) + call.write.size();
  for (const std::string& payload : call.payloads) bytes += sizeof payload + payload.size();
  return bytes;
}
uint64_t BytesOf(const ImportCall& call) {
  uint64_t bytes = 0;
  for (const ImportRow& row : call.rows) {
    bytes += sizeof row + row.key.size() * sizeof(float);
    for (const PayloadRow& payload : row.payloads) bytes += sizeof payload + payload.bytes.size();
  }
  return bytes;
}
uint64_t BytesOf(const SlotsCall& call) { return (call.slots.size() + call.values.size()) * sizeof(uint64_t); }
template <typename Call>
uint64_t BytesOf(const Call&) {
  return 0;
}

}  // namespace

uint64_t Task::mailbox_bytes() const {
  return sizeof(Task) + std::visit([](const auto& c) { return BytesOf(c); }, call);
}

const MutationId* Task::mutation() const {
  if (const auto* clear = std::get_if<ClearCall>(&call)) return &clear->mutation;
  if (const auto* import = std::get_if<ImportCall>(&call)) return import->mutation ? &*import->mutation : nullptr;
  const auto* observe = std::get_if<ObserveCall>(&call);
  return observe && observe->mutation ? &*observe->mutation : nullptr;
}

void Task::Fail(const absl::Status& status) {
  std::visit(
      [&](auto& c) {
        if (auto done = std::exchange(c.done, nullptr)) done(status);
      },
      call);
}

namespace {

template <typename Done, typename Reply>
void Once(Done& done, Reply reply) {
  if (auto taken = std::exchange(done, nullptr)) taken(std::move(reply));
}

}  // namespace

void Task::Reply(std::string reply) {
  if (auto* clear = std::get_if<ClearCall>(&call)) return Once(clear->done, std::move(reply));
  if (auto* import = std::get_if<ImportCall>(&call)) return Once(import->done, std::move(reply));
  Once(std::get<ObserveCall>(call).done, std::move(reply));
}
void Task::Reply(QueryReply reply) { Once(std::get<QueryCall>(call).done, std::move(reply)); }
void Task::Reply(SlotsReply reply) { Once(std::get<SlotsCall>(call).done, std::move(reply)); }
void Task::Reply(InspectReply reply) { Once(std::get<InspectCall>(call).done, std::move(reply)); }
void Task::Reply(ReaderReply reply) { Once(std::get<ReaderCall>(call).done, std::move(reply)); }

}  // namespace evoke
