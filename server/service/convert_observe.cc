#include "server/service/convert_observe.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/convert_rows.h"
#include "server/service/digest.h"

namespace evoke {
namespace {

constexpr uint64_t kEnvelopeBytes = 512;  // header and field tags of a reply, generously

uint64_t PredictedBytes(const ObserveCall& call, uint64_t rows, uint64_t dim) {
  const uint64_t flags = rows / 8 + 1;
  if (call.form == ObserveForm::kOutcomes) return kEnvelopeBytes + rows * (1 + 8);
  uint64_t bytes = kEnvelopeBytes + 3 * flags + rows * (8 + 4 + 4 + 1 + 8);
  if (call.form == ObserveForm::kGradient) bytes += rows * dim * 4;
  if (call.form == ObserveForm::kKeys) bytes += 2 * rows * dim * 4;
  if (call.confidence_gradient) bytes += rows * dim * 4;
  return bytes;
}

absl::StatusOr<std::vector<int64_t>> DecodeValues(const char* what, std::string_view bytes, uint32_t rows) {
  if (bytes.size() != size_t{rows} * 8) {
    return BadShape(absl::StrCat(what, " has ", bytes.size(), " bytes of values, ", rows, " rows take ",
                                 size_t{rows} * 8));
  }
  std::vector<int64_t> values(rows);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <typename Request>
absl::StatusOr<std::vector<std::string>> TakePayloads(const char* what, uint32_t rows, Request* request) {
  std::vector<std::string> payloads;
  if (request->payloads_size() == 0) return payloads;
  if (static_cast<uint32_t>(request->payloads_size()) != rows) {
    return BadShape(absl::StrCat(what, " has ", request->payloads_size(),
                                 " payloads, expects none or one for each of ", rows, " rows"));
  }
  payloads.reserve(rows);
  for (std::string& payload : *request->mutable_payloads()) {
    if (payload.size() > kMaxPayloadBytes) {
      return TooLarge("payloads", absl::StrCat("bytes of the payload of row ", payloads.size()),
                      payload.size(), kMaxPayloadBytes);
    }
    payloads.push_back(std::move(payload));
  }
  return payloads;
}

// The fields that Update and TrainStep share. `call` has its form already.
template <typename Request>
absl::StatusOr<ObserveCall> FillCall(const char* what, Request* request, const Target& target,
                                     ObserveCall call) {
  EVOKE_RETURN_IF_ERROR(CheckShape(what, request->embeddings(), target));
  const uint32_t rows = request->embeddings().rows();
  const uint64_t reply_bytes = PredictedBytes(call, rows, target.spec.key_dim);
  if (reply_bytes > target.limits.max_message_bytes) {
    return TooLarge("reply",
                    absl::StrCat("bytes of the reply to a ", what, " of memory \"", target.memory, "\""),
                    reply_bytes, target.limits.max_message_bytes);
  }
  EVOKE_ASSIGN_OR_RETURN(call.values, DecodeValues(what, request->values(), rows));
  EVOKE_ASSIGN_OR_RETURN(call.write, UnpackBits("write", request->write(), rows, 1));
  EVOKE_ASSIGN_OR_RETURN(call.payloads, TakePayloads(what, rows, request));
  EVOKE_ASSIGN_OR_RETURN(call.rows, DecodeRows(request->embeddings(), request->skip()));
  for (uint32_t row = 0; row < rows; ++row) {
    if (call.rows.skip[row]) call.write[row] = 0;
  }

  const bool writes = std::find(call.write.begin(), call.write.end(), 1) != call.write.end();
  if (writes && !request->has_mutation()) {
    return BadArgument("mutation", absl::StrCat(what, " writes to memory \"", target.memory,
                                                "\" and has no mutation, expects a session and a number"));
  }
  if (!writes && request->has_mutation()) {
    return BadArgument(
        "mutation", absl::StrCat(what, " has a mutation and no row that writes, it would consume no number"));
  }
  if (writes) {
    EVOKE_ASSIGN_OR_RETURN(call.mutation, ToMutation(request->mutation()));
    call.mutation->digest = DigestOf(call);
  }
  EVOKE_RETURN_IF_ERROR(NormaliseRows(what, target.memory, &call.rows));
  return call;
}

}  // namespace

absl::StatusOr<ObserveCall> ToObserveCall(v1::UpdateRequest&& request, const Target& target) {
  return FillCall("update", &request, target,
                  ObserveCall{.form = ObserveForm::kOutcomes, .encode = EncodeUpdate});
}

absl::StatusOr<ObserveCall> ToObserveCall(v1::TrainStepRequest&& request, const Target& target) {
  ObserveCall call{.confidence_gradient = request.confidence_gradient(), .encode = EncodeTrainStep};
  switch (request.form()) {
    case v1::RETURN_FORM_UNSPECIFIED:
    case v1::RETURN_FORM_SCORES:
      call.form = ObserveForm::kScores;
      break;
    case v1::RETURN_FORM_GRADIENT:
      call.form = ObserveForm::kGradient;
      break;
    case v1::RETURN_FORM_KEYS:
      call.form = ObserveForm::kKeys;
      break;
    default:
      return BadArgument("form", absl::StrCat("form is ", static_cast<int>(request.form()),
                                              ", expects SCORES, GRADIENT or KEYS"));
  }
  return FillCall("train step", &request, target, std::move(call));
}

absl::StatusOr<ClearCall> ToClearCall(const v1::ClearMemoryRequest& request) {
  if (!request.has_mutation()) {
    return BadArgument("mutation", "a clear has no mutation, expects a session and a number");
  }
  ClearCall call{.encode = EncodeClear};
  EVOKE_ASSIGN_OR_RETURN(call.mutation, ToMutation(request.mutation()));
  call.mutation.digest = DigestOfClear();
  return call;
}

std::string EncodeUpdate(const ObserveReply& reply) {
  v1::UpdateResponse response;
  FillStoredHeader(reply.state, response.mutable_header());
  response.set_rows(reply.rows);
  response.set_outcomes(ToBytes(reply.outcomes));
  response.set_slots(ToBytes(reply.slots));
  return response.SerializeAsString();
}

std::string EncodeTrainStep(const ObserveReply& reply) {
  v1::TrainStepResponse response;
  FillStoredHeader(reply.state, response.mutable_header());
  response.set_rows(reply.rows);
  response.set_answered(PackBits(reply.answered));
  response.set_values(ToBytes(reply.values));
  response.set_confidences(ToBytes(reply.confidences));
  response.set_losses(ToBytes(reply.losses));
  response.set_positive_found(PackBits(reply.positive_found));
  response.set_negative_found(PackBits(reply.negative_found));
  response.set_outcomes(ToBytes(reply.outcomes));
  response.set_slots(ToBytes(reply.slots));
  response.set_gradients(ToBytes(reply.gradients));
  response.set_confidence_gradients(ToBytes(reply.confidence_gradients));
  response.set_positive_keys(ToBytes(reply.positive_keys));
  response.set_negative_keys(ToBytes(reply.negative_keys));
  return response.SerializeAsString();
}

std::string EncodeClear(const ClearReply& reply) {
  v1::ClearMemoryResponse response;
  FillStoredHeader(reply.state, response.mutable_header());
  response.set_freed_slots(reply.freed_slots);
  return response.SerializeAsString();
}

}  // namespace evoke
