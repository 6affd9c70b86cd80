// evoke.v1.AdminService: memories are made, described and removed here. Create and Delete block on the disk
// and run on the admin scheduler; the other handlers never block. Answers while memories load. Thread-safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "evoke/v1/admin_service.grpc.pb.h"
#include "server/service/service_context.h"

namespace evoke {

namespace internal {
template <typename Base>
using RawAdminA = v1::AdminService::WithRawCallbackMethod_CreateMemory<
    v1::AdminService::WithRawCallbackMethod_DescribeMemory<
        v1::AdminService::WithRawCallbackMethod_ListMemories<
            v1::AdminService::WithRawCallbackMethod_ClearMemory<Base>>>>;
template <typename Base>
using RawAdminB = v1::AdminService::WithRawCallbackMethod_DeleteMemory<
    v1::AdminService::WithRawCallbackMethod_StateHash<v1::AdminService::WithRawCallbackMethod_Status<Base>>>;
}  // namespace internal

class AdminService final : public internal::RawAdminA<internal::RawAdminB<v1::AdminService::Service>> {
 public:
  // `shared` must outlive the gRPC server and what runs on the admin scheduler.
  explicit AdminService(ServiceContext* shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* CreateMemory(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* DescribeMemory(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* ListMemories(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* ClearMemory(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* DeleteMemory(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* StateHash(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* reply) override;

 private:
  ServiceContext* const shared_;
};

}  // namespace evoke
