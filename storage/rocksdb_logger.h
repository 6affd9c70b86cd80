// Where RocksDB writes its warnings: the file LOG of the store, as long as that can be written.
//
// RocksDB's own logger must not meet an error: Debian's build has its assertions on, and the second message after a
// write that failed (a full disk, say) would abort the process. This one loses messages instead.
//
// Thread-safe. At most 1 MiB: what is longer at an open becomes LOG.old; what comes later is dropped.
#pragma once

#include <rocksdb/env.h>

#include <cstdarg>
#include <memory>
#include <string>

namespace evoke {

// `folder` need not be there yet. Empty: for a store that is only read; nothing is written anywhere.
std::shared_ptr<rocksdb::Logger> MakeRocksDbLogger(const std::string& folder);

}  // namespace evoke
