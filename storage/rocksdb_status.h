// RocksDB's statuses as ours.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "rocksdb/status.h"

namespace evoke {

// NotFound stays; Corruption and files that are gone -> DATA_LOSS; NoSpace, IOError and whatever passes by
// itself -> UNAVAILABLE; everything else is a bug of ours -> INTERNAL. The message begins with `what`.
absl::Status FromRocksDb(const std::string& what, const rocksdb::Status& status);

// Runs `body` and turns an exception (memory that is not there, above all) into INTERNAL.
template <typename Body>
auto WithoutExceptions(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    return absl::InternalError(e.what());
  }
}

}  // namespace evoke
