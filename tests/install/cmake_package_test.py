"""An outside project finds the installed C++ client by find_package(evoke) and talks to a real server with it."""

import pathlib

from conftest import run

import evoke

PROJECT = """
cmake_minimum_required(VERSION 3.20)
project(outside LANGUAGES CXX)
set(CMAKE_CXX_FLAGS "-Wall -Werror")
find_package(evoke 0.1 REQUIRED)
add_executable(outside main.cc)
target_link_libraries(outside PRIVATE evoke::client)
add_executable(raw raw.cc)
target_link_libraries(raw PRIVATE evoke::proto)
if(NOT EXISTS ${EVOKE_PROTO_DIR}/evoke/v1/memory_service.proto)
  message(FATAL_ERROR "EVOKE_PROTO_DIR has no protos: ${EVOKE_PROTO_DIR}")
endif()
get_target_property(options evoke::client INTERFACE_COMPILE_OPTIONS)
if(options)
  message(FATAL_ERROR "evoke::client hands on our compile options: ${options}")
endif()
"""

# Every public header, so that none of them needs what is not installed.
CALLER = """
%s
#include <iostream>

using namespace evoke::client;

int main(int, char** argv) {
  auto client = Client::Connect({.addresses = {argv[1]}});
  auto made = (*client)->CreateMemory("birds", {.key_dim = 3, .capacity = 100, .durability = Durability::kMemory});
  if (!made.ok()) return std::cerr << made.status() << "\\n", 1;
  Memory memory = made->memory;
  std::vector<float> x = {1, 2, 2};
  std::vector<int64_t> label = {42};
  auto updated = memory.Update({.embeddings = MatrixView::Float32(x, 1), .values = label});
  if (!updated.ok()) return std::cerr << updated.status() << "\\n", 1;
  auto answer = memory.Query({.embeddings = MatrixView::Float32(x, 1)});
  if (!answer.ok()) return std::cerr << answer.status() << "\\n", 1;
  std::cout << answer->values[0] << "\\n";
}
"""

RAW = """
#include <grpcpp/create_channel.h>
#include <iostream>
#include "evoke/v1/admin_service.grpc.pb.h"

int main(int, char** argv) {
  auto stub = evoke::v1::AdminService::NewStub(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  evoke::v1::StatusResponse status;
  const grpc::Status done = stub->Status(&context, evoke::v1::StatusRequest(), &status);
  std::cout << (done.ok() ? status.version() : done.error_message()) << "\\n";
}
"""


def test_an_outside_project_builds_against_the_package_and_calls_a_server(build_dir, tmp_path):
    prefix, source, build = tmp_path / "prefix", tmp_path / "source", tmp_path / "build"
    run("cmake", "--install", build_dir, "--component", "dev", "--prefix", prefix)
    source.mkdir()
    headers = sorted(path.relative_to(prefix / "include").as_posix() for path in (prefix / "include/evoke").glob("*.h"))
    assert "evoke/client.h" in headers
    includes = "".join('#include "%s"\n' % header for header in headers)
    for name, text in (("CMakeLists.txt", PROJECT), ("main.cc", CALLER % includes), ("raw.cc", RAW)):
        (source / name).write_text(text)
    # Moved first: a package that works only where it was installed to is no package.
    moved = prefix.rename(tmp_path / "elsewhere")
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_PREFIX_PATH=%s" % moved)
    run("cmake", "--build", build)
    with evoke.local() as server:
        assert run(build / "outside", server.address) == "42\n"
        assert run(build / "raw", server.address).strip() == evoke.__version__


def test_no_public_header_needs_another_library_than_abseil(build_dir, tmp_path):
    run("cmake", "--install", build_dir, "--component", "dev", "--prefix", tmp_path)
    installed = tmp_path / "include"
    for header in (installed / "evoke").glob("*.h"):
        for line in header.read_text().splitlines():
            if line.startswith('#include "'):
                name = line.split('"')[1]
                assert name.startswith("absl/") or pathlib.Path(installed / name).is_file(), (header.name, name)
