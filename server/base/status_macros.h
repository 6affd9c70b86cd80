// Early return on a status that is not OK.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define EVOKE_RETURN_IF_ERROR(expr)                     \
  do {                                                  \
    if (absl::Status status_ = (expr); !status_.ok()) { \
      return status_;                                   \
    }                                                   \
  } while (false)

#define EVOKE_CONCAT_INNER(a, b) a##b
#define EVOKE_CONCAT(a, b) EVOKE_CONCAT_INNER(a, b)
// EVOKE_ASSIGN_OR_RETURN(auto x, F());
#define EVOKE_ASSIGN_OR_RETURN(lhs, expr) EVOKE_ASSIGN_OR_RETURN_(EVOKE_CONCAT(statusor_, __LINE__), lhs, expr)
#define EVOKE_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                            \
  if (!tmp.ok()) return tmp.status();           \
  lhs = *std::move(tmp)
