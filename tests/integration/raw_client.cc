#include "tests/integration/raw_client.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>

#include "absl/status/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/integration/child_process.h"

namespace evoke::testing {
namespace {

// Each client a connection of its own; one that was lost is made anew at once.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace

Fault FaultOf(const grpc::Status& status) {
  if (status.ok()) return {.code_and_reason = "OK"};
  Fault fault{.message = status.error_message()};
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    detail.UnpackTo(&info);
    fault.has_retry_delay |= detail.Is<google::rpc::RetryInfo>();
  }
  fault.code_and_reason =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())) + "/" + info.reason();
  fault.metadata = {info.metadata().begin(), info.metadata().end()};
  if (details.details_size() > 0) {
    EXPECT_EQ(info.domain(), "evoke");
    EXPECT_EQ(details.code(), status.error_code());
  }
  return fault;
}

void SetMatrix(const std::vector<float>& numbers, uint32_t rows, v1::Matrix* matrix) {
  matrix->set_data(Raw(numbers));
  matrix->set_dtype(v1::DTYPE_FLOAT32);
  matrix->set_rows(rows);
  matrix->set_dim(static_cast<uint32_t>(numbers.size()) / rows);
}

std::string SessionNamed(const std::string& name) {
  std::string session = name;
  session.resize(16, '.');
  return session;
}

RawClient::RawClient(const std::string& address, RawClientOptions options)
    : options_(std::move(options)),
      channel_(OpenChannel(address, options_.credentials)),
      memory_(v1::MemoryService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)) {}

void RawClient::SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kPatience));
  context->set_wait_for_ready(options_.wait_for_ready);
  for (const auto& [key, value] : options_.metadata) context->AddMetadata(key, value);
}

Fault RawClient::CallBytes(const std::string& method, const std::string& request, std::string* reply) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  SetDeadline(&context);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer buffer;
  grpc::Status status;
  call->Finish(&buffer, &status, nullptr);
  void* tag;
  bool ok;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  grpc::Slice whole;
  if (status.ok() && buffer.DumpToSingleSlice(&whole).ok()) {
    reply->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return FaultOf(status);
}

v1::StateHashResponse RawClient::StateHash(const std::string& memory) {
  v1::StateHashRequest request;
  v1::StateHashResponse response;
  request.mutable_memory()->set_name(memory);
  const Fault fault = Call(&v1::AdminService::Stub::StateHash, request, &response);
  EXPECT_EQ(fault.code_and_reason, "OK") << fault.message;
  return response;
}

v1::CreateMemoryResponse RawClient::Create(const std::string& name, const v1::MemorySpec& spec) {
  v1::CreateMemoryRequest request;
  v1::CreateMemoryResponse response;
  request.set_name(name);
  *request.mutable_spec() = spec;
  const Fault fault = Call(&v1::AdminService::Stub::CreateMemory, request, &response);
  EXPECT_EQ(fault.code_and_reason, "OK") << fault.message;
  return response;
}

}  // namespace evoke::testing
