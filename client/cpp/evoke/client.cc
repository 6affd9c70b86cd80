#include "evoke/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/convert.h"
#include "evoke/memory_core.h"

namespace evoke::client {
namespace {

std::string Of(absl::string_view rpc, absl::string_view name) {
  return absl::StrCat(rpc, " of memory \"", name, "\"");
}

// As the server says it.
absl::Status MemoryNotFound(absl::string_view name) {
  absl::Status status = absl::NotFoundError(absl::StrCat("there is no memory \"", name, "\""));
  ErrorDetails details;
  details.reason = "MEMORY_NOT_FOUND";
  SetErrorDetails(details, &status);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ClientOptions options) {
  absl::StatusOr<std::shared_ptr<Connection>> connection = Connection::Create(std::move(options));
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<Client>(new Client(*std::move(connection)));
}

Client::Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

Client::~Client() {
  connection_->in_flight()->AwaitNone();
}

absl::StatusOr<Memory> Client::OpenMemory(const std::string& name, Deadline deadline) {
  absl::StatusOr<MemoryDescription> description = DescribeMemory(name, deadline);
  if (absl::IsDataLoss(description.status())) {  // the list knows memories that cannot be described any more
    const absl::StatusOr<std::vector<MemoryDescription>> all = ListMemories(deadline);
    if (!all.ok()) return all.status();
    for (const MemoryDescription& memory : *all) {
      if (memory.name == name) description = memory;
    }
  }
  if (!description.ok()) return description.status();
  return HandleOf(name, description->uid, description->spec.key_dim, description->turn);
}

absl::StatusOr<MemoryDescription> Client::DescribeMemory(const std::string& name, Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::DescribeMemoryRequest request;
  v1::DescribeMemoryResponse reply;
  request.mutable_memory()->set_name(name);
  const absl::Status status = connection_->Run(
      Of("DescribeMemory", name), *end,
      [&](auto& stubs, auto* context) { return stubs.admin->DescribeMemory(context, request, &reply); });
  if (!status.ok()) return status;
  return FromProto(reply.description());
}

absl::StatusOr<CreateMemoryResult> Client::CreateMemory(const std::string& name, const MemorySpec& spec,
                                                        const CreateMemoryOptions& options) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(options.deadline);
  if (!end.ok()) return end.status();
  // With a uid of our own a repeated Create recognises its memory instead of finding the name taken.
  const Id128 uid = Id128::Random();
  v1::CreateMemoryRequest request;
  v1::CreateMemoryResponse reply;
  request.set_name(name);
  request.set_uid(uid.ToBytes());
  request.set_if_not_exists(options.if_not_exists);
  ToProto(spec, request.mutable_spec());
  const absl::Status status = connection_->Run(
      Of("CreateMemory", name), *end,
      [&](auto& stubs, auto* context) { return stubs.admin->CreateMemory(context, request, &reply); });
  if (!status.ok()) return status;
  const ReplyHeader header = FromProto(reply.header());
  return CreateMemoryResult{
      .memory = HandleOf(name, header.uid, reply.spec().key_dim(), header.turn),
      .header = header,
      .spec = FromProto(reply.spec()),
      // A retry whose first attempt got through is told "it was there already": it was, by this call.
      .created = reply.created() || header.uid == uid};
}

absl::StatusOr<MemoryPlan> Client::PlanMemory(const MemorySpec& spec, Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::CreateMemoryRequest request;
  v1::CreateMemoryResponse reply;
  request.set_dry_run(true);
  ToProto(spec, request.mutable_spec());
  const absl::Status status = connection_->Run("PlanMemory", *end, [&](auto& stubs, auto* context) {
    return stubs.admin->CreateMemory(context, request, &reply);
  });
  if (!status.ok()) return status;
  // A server that knows no dry run would have refused the empty name.
  return FromProto(reply.plan(), reply.spec());
}

absl::StatusOr<std::vector<MemoryDescription>> Client::ListMemories(Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::ListMemoriesResponse reply;
  const absl::Status status = connection_->Run("ListMemories", *end, [&](auto& stubs, auto* context) {
    return stubs.admin->ListMemories(context, v1::ListMemoriesRequest(), &reply);
  });
  if (!status.ok()) return status;
  std::vector<MemoryDescription> memories;
  for (const v1::MemoryDescription& memory : reply.memories()) memories.push_back(FromProto(memory));
  return memories;
}

absl::StatusOr<DeleteMemoryResult> Client::DeleteMemory(const std::string& name,
                                                        const DeleteMemoryOptions& options) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(options.deadline);
  if (!end.ok()) return end.status();
  v1::DeleteMemoryRequest request;
  request.set_name(name);
  if (options.uid.has_value()) {
    request.set_uid(options.uid->ToBytes());
  } else {
    // A repeated Delete by name could remove a memory that was made in between, so the name is looked up
    // once. The list knows memories that cannot be described any more, and those are the ones to delete.
    v1::ListMemoriesResponse list;
    const absl::Status status =
        connection_->Run(Of("DeleteMemory", name), *end, [&](auto& stubs, auto* context) {
          return stubs.admin->ListMemories(context, v1::ListMemoriesRequest(), &list);
        });
    if (!status.ok()) return status;
    const auto memory =
        std::find_if(list.memories().begin(), list.memories().end(),
                     [&](const v1::MemoryDescription& entry) { return entry.name() == name; });
    if (memory == list.memories().end()) return MemoryNotFound(name);
    request.set_uid(memory->uid());
  }
  v1::DeleteMemoryResponse reply;
  const absl::Status status = connection_->Run(
      Of("DeleteMemory", name), *end,
      [&](auto& stubs, auto* context) { return stubs.admin->DeleteMemory(context, request, &reply); });
  if (!status.ok()) return status;
  return DeleteMemoryResult{.uid = Id128::FromBytes(reply.uid()), .deleted = reply.deleted()};
}

absl::StatusOr<ServerStatus> Client::Status(Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::StatusResponse reply;
  const absl::Status status = connection_->Run("Status", *end, [&](auto& stubs, auto* context) {
    return stubs.admin->Status(context, v1::StatusRequest(), &reply);
  });
  if (!status.ok()) return status;
  return FromProto(reply);
}

absl::StatusOr<ServingStatus> Client::Health(const std::string& service, Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse reply;
  request.set_service(service);
  const absl::Status status = connection_->Run("Check of health", *end, [&](auto& stubs, auto* context) {
    return stubs.health->Check(context, request, &reply);
  });
  if (!status.ok()) return status;
  return static_cast<ServingStatus>(reply.status());
}

Memory Client::HandleOf(const std::string& name, const Id128& uid, uint32_t key_dim, uint64_t turn) {
  std::shared_ptr<MemoryCore> core;
  {
    absl::MutexLock lock(&mu_);
    core = cores_[uid].lock();
    if (core == nullptr) {
      std::erase_if(cores_, [](const auto& entry) { return entry.second.expired(); });
      core.reset(new MemoryCore{.connection = connection_, .name = name, .uid = uid, .key_dim = key_dim});
      cores_[uid] = core;
    }
  }
  core->SawTurn(turn);
  return Memory(std::move(core));
}

}  // namespace evoke::client
