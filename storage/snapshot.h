// Snapshots as files: published whole, verified byte by byte, copied with resume, removed by name.
//
//   <parent>/<id>/{MANIFEST.json, DONE, store/...}
//
// A folder is a snapshot once it holds DONE, which names the SHA-256 of the manifest, which names that of
// every file.
//   publish   files and manifest in tmp -> fsync all -> rename into place -> fsync the parent -> DONE
//   remove    DONE first -> what the manifest names, nothing else
// So a crash at any moment leaves a whole snapshot, or a folder without DONE, which nothing lists.
//
// Threads: thread-safe, but not for two calls that write the same folder. Every call blocks on the disk.
// Failure: NOT_FOUND for no snapshot; DATA_LOSS naming the file that is not what it should be; CANCELLED when
// `progress` says so; UNAVAILABLE when the file system refuses.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/manifest.h"

namespace evoke {

// Bytes done of all; false gives up. Called about once a MiB, by the calling thread.
using FileProgress = std::function<bool(uint64_t done, uint64_t total)>;

// Fills `files` of the manifest with what lies in `folder`, each file synced.
absl::Status HashFiles(const std::string& folder, const FileProgress& progress, SnapshotManifest* manifest);
// Moves `tmp_folder`, in the same file system, to `parent`/<id> and completes it. `parent` must exist.
absl::Status PublishSnapshot(const std::string& tmp_folder, const std::string& parent,
                             const SnapshotManifest& manifest);

absl::StatusOr<SnapshotManifest> ReadSnapshot(const std::string& folder);
// The complete and readable ones, by epoch, then turn, then time. None when there is no such folder.
absl::StatusOr<std::vector<SnapshotManifest>> ListSnapshots(const std::string& parent);
// Every file is there with its size and sum, and no other.
absl::Status VerifyFiles(const std::string& folder, const SnapshotManifest& manifest,
                         const FileProgress& progress);

// To `parent`/<id>, by way of `parent`/<id>.partial. What an earlier attempt left there is checked and not
// copied again; a complete copy is left alone. Makes `parent` when its own parent is there.
absl::Status CopySnapshot(const std::string& folder, const std::string& parent, const FileProgress& progress);
// False when it is gone already. What the manifest does not name stays, and is an error.
absl::StatusOr<bool> RemoveSnapshot(const std::string& folder);

// A copy of the store in a snapshot that may be written: `to` must not exist, its parent must. Table files
// are shared by hard links where they can be, for they never change; every copied byte is checked against the
// manifest.
absl::Status CloneStore(const std::string& folder, const SnapshotManifest& manifest, const std::string& to,
                        const FileProgress& progress);

}  // namespace evoke
