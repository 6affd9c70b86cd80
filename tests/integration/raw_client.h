// The wire as it is, without the client library: nothing is checked, numbered or repeated before it is sent.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"

namespace evoke::testing {

// What a refused call said.
struct Fault {
  std::string code_and_reason;  // "INVALID_ARGUMENT/BAD_SHAPE"; "OK"; without a reason "CANCELLED/"
  std::map<std::string, std::string> metadata;
  std::string message;
  bool has_retry_delay = false;
};
Fault FaultOf(const grpc::Status& status);

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}
template <typename T>
std::vector<T> Numbers(const std::string& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

// A matrix of float32; dim = numbers / rows.
void SetMatrix(const std::vector<float>& numbers, uint32_t rows, v1::Matrix* matrix);
// 16 bytes, the same for the same text.
std::string SessionNamed(const std::string& name);

struct RawClientOptions {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  std::vector<std::pair<std::string, std::string>> metadata;  // of every call
  bool wait_for_ready = true;                                 // false: no connection is an error at once
};

// Blocking calls on one channel; each has a deadline of its own and says with what it ended. Thread-safe.
class RawClient {
 public:
  explicit RawClient(const std::string& address, RawClientOptions options = {});

  template <typename Request, typename Response>
  Fault Call(grpc::Status (v1::MemoryService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
             const Request& request, Response* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return FaultOf((memory_.get()->*method)(&context, request, response));
  }
  template <typename Request, typename Response>
  Fault Call(grpc::Status (v1::AdminService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
             const Request& request, Response* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return FaultOf((admin_.get()->*method)(&context, request, response));
  }
  // The bytes of request and reply; `method` as in "/evoke.v1.MemoryService/TrainStep".
  Fault CallBytes(const std::string& method, const std::string& request, std::string* reply);

  // Expects it to succeed.
  v1::StateHashResponse StateHash(const std::string& memory);
  v1::CreateMemoryResponse Create(const std::string& name, const v1::MemorySpec& spec);

 private:
  void SetDeadline(grpc::ClientContext* context);

  const RawClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::MemoryService::Stub> memory_;
  const std::unique_ptr<v1::AdminService::Stub> admin_;
};

}  // namespace evoke::testing
