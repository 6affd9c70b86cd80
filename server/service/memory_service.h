// evoke.v1.MemoryService: finds the memory, converts, submits, and converts back. No logic of its own.
//
// All methods take and give raw bytes: replies of mutations are sent as they were stored, and bytes that are
// no message are answered with a reason. Handlers never block. Thread-safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "evoke/v1/memory_service.grpc.pb.h"
#include "server/service/service_context.h"

namespace evoke {

class MemoryService final
    : public v1::MemoryService::WithRawCallbackMethod_Query<
          v1::MemoryService::WithRawCallbackMethod_Update<v1::MemoryService::WithRawCallbackMethod_TrainStep<
              v1::MemoryService::WithRawCallbackMethod_TrainStream<
                  v1::MemoryService::WithRawCallbackMethod_GetSlots<v1::MemoryService::WithRawCallbackMethod_Import<
                      v1::MemoryService::WithRawCallbackMethod_Export<v1::MemoryService::Service>>>>>>> {
 public:
  // `shared` must outlive the gRPC server.
  explicit MemoryService(ServiceContext* shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* Query(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* TrainStep(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* reply) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* TrainStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetSlots(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Import(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* reply) override;
  // On a thread that may block.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Export(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request) override;

 private:
  ServiceContext* const shared_;
};

}  // namespace evoke
