// evoke.v1.AdminService: memories are made, described and removed here. Create and Delete block on the disk
// and run on the admin scheduler, forks and snapshots (admin_snapshots.cc) on that of long calls; the other
// handlers never block. Answers while memories load. Thread-safe.
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
template <typename Base>
using RawAdminC = v1::AdminService::WithRawCallbackMethod_ForkMemory<
    v1::AdminService::WithRawCallbackMethod_CreateSnapshot<
        v1::AdminService::WithRawCallbackMethod_ListSnapshots<
            v1::AdminService::WithRawCallbackMethod_VerifySnapshot<Base>>>>;
template <typename Base>
using RawAdminD = v1::AdminService::WithRawCallbackMethod_RestoreSnapshot<
    v1::AdminService::WithRawCallbackMethod_DeleteSnapshot<
        v1::AdminService::WithRawCallbackMethod_CopySnapshot<Base>>>;
}  // namespace internal

class AdminService final
    : public internal::RawAdminA<
          internal::RawAdminB<internal::RawAdminC<internal::RawAdminD<v1::AdminService::Service>>>> {
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

  grpc::ServerUnaryReactor* ForkMemory(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* reply) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* CreateSnapshot(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* ListSnapshots(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* VerifySnapshot(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* RestoreSnapshot(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* DeleteSnapshot(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* CopySnapshot(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request) override;

 private:
  ServiceContext* const shared_;
};

}  // namespace evoke
