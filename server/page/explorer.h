// Why a memory answers as it does: what it holds, and what lies near, as Query and GetSlots tell it.
//
// Every answer is made of calls through the memory's executor, checked as if they had come by gRPC: they wait for their
// turn like those of any other client, and share turns fairly with them. Thread-safe; calls block for up to ten seconds.
// Failure: the reasons of Query and GetSlots (proto/README.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/page/json_reply.h"
#include "server/service/resolve.h"
#include "server/service/service_context.h"

namespace evoke {

class Explorer {
 public:
  static constexpr uint32_t kMostListed = 64;     // slots or neighbors in one answer: with their payloads about 1 MiB
  static constexpr uint32_t kDefaultListed = 24;

  // Who asks, for fair shares of turns.
  Explorer(const ServiceContext* shared, uint64_t client) : shared_(shared), client_(client) {}

  // Live slots by number, and those of a value, latest first; at most kMostListed in all.
  struct SlotsQuestion {
    std::vector<uint64_t> slots;
    std::vector<int64_t> values;
    uint32_t limit = kDefaultListed;  // of a value
  };
  absl::StatusOr<Json> Slots(const std::string& memory, const SlotsQuestion& question) const;

  // A live slot and what lies near its key, itself left out. NOT_FOUND / SLOT_FREE when it is not live.
  absl::StatusOr<Json> NeighborsOf(const std::string& memory, uint64_t slot, uint32_t count) const;
  // The answer to an embedding of any scale, and its neighbors.
  absl::StatusOr<Json> Ask(const std::string& memory, const std::vector<float>& embedding, uint32_t count) const;

 private:
  absl::StatusOr<SlotsReply> GetSlots(const ResolvedMemory& memory, const SlotsQuestion& question, bool keys) const;
  absl::StatusOr<QueryReply> Query(const ResolvedMemory& memory, const std::vector<float>& embedding) const;
  // Adds "answer" and "neighbors", `count` of them without slot `left_out`.
  absl::Status AddNeighbors(const ResolvedMemory& memory, const QueryReply& reply, uint32_t count, uint64_t left_out,
                            Json* json) const;

  const ServiceContext* const shared_;
  const uint64_t client_;
};

}  // namespace evoke
