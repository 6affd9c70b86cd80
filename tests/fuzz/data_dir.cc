// The files of a data directory that are read before any store: FORMAT and catalog.
//
// They are real files, in RAM where the system has a place for that. What is accepted is what would be written.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "storage/bytes.h"
#include "storage/catalog.h"
#include "storage/data_dir.h"
#include "storage/file_util.h"
#include "storage/sealed_row.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

namespace fs = std::filesystem;

// One folder a process, removed at its end.
class Folder {
 public:
  Folder() {
    const std::string parent = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path().string();
    std::string name = parent + "/evoke-fuzz-XXXXXX";
    EVOKE_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string Path(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

const Folder& TheFolder() {
  static const Folder folder;
  return folder;
}

void Write(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EVOKE_CHECK(out.flush().good());
}

void Format(std::string_view bytes) {
  const std::string path = TheFolder().Path("format");
  fs::create_directories(path);
  Write(path + "/FORMAT", bytes);
  const auto dir = DataDir::Open(path);
  if (!dir.ok()) return CheckRefusal(dir.status());
  EVOKE_CHECK(bytes == "evoke-data 1\n");
}

void Catalog(std::string file) {
  static DataDir* const dir = [] {
    absl::StatusOr<std::unique_ptr<DataDir>> opened = DataDir::Open(TheFolder().Path("catalog"));
    EVOKE_CHECK(opened.ok());
    return opened->release();
  }();
  CatalogFile catalog(dir);
  Write(dir->CatalogPath(), file);
  const auto entries = catalog.Load();
  if (!entries.ok()) return CheckRefusal(entries.status());
  EVOKE_CHECK(catalog.Store(*entries).ok());
  EVOKE_CHECK(ReadFile(dir->CatalogPath()).value() == file);
}

void Run(std::string_view input) {
  enum { kFormat, kCatalog, kSealedCatalog, kForms };
  ByteReader in(input);
  const int form = in.Take<uint8_t>() % kForms;
  std::string bytes(in.TakeRaw(in.remaining()));
  if (form == kFormat) return Format(bytes);
  if (form == kSealedCatalog) SealRow("catalog", &bytes);
  Catalog(std::move(bytes));
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
