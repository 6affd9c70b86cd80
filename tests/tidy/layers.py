"""Which folder may include what: the arrows of server/README.md, as a table."""

import fnmatch
import os

# A folder, and everything of this project that its files may include. The longest matching folder decides. Folders
# that are not named here (and server/main.cc, server/server.*) may include anything that is below them.
ALLOWED = {
    "storage": ["storage/*"],
    "client": ["client/*"],
    "client/load": ["client/load/*", "client/cpp/*"],
    "server/base": ["server/base/*"],
    "server/similarity": ["server/similarity/*"],
    "server/memory": ["server/memory/*", "server/similarity/*", "storage/ids.h"],
    "server/index": ["server/index/*", "server/similarity/*", "server/base/*"],
    "server/index/gpu": ["server/index/*", "server/similarity/*", "server/base/*"],
    "server/engine": ["server/engine/*", "server/memory/*", "server/index/*", "server/similarity/*",
                      "server/base/*", "storage/*"],
    "server/service": ["server/service/*", "server/engine/*", "server/memory/*", "server/similarity/*",
                       "server/base/*", "storage/ids.h"],
    "server/metrics": ["server/metrics/*", "server/engine/*", "server/service/call_observer.h", "server/base/*"],
    "server/http": ["server/http/*", "server/base/*"],
    "server/page": ["server/page/*", "server/http/*", "server/service/*", "server/engine/*", "server/memory/*",
                    "server/base/*", "server/config/values.h", "storage/*.h"],
    "server/config": ["server/config/*", "server/engine/*.h", "server/base/*"],
    "server/tools": ["server/tools/*", "server/engine/*", "server/memory/*", "server/similarity/*", "server/base/*",
                     "storage/*"],
    "server": ["server/*", "storage/*"],
}

# In the algorithm not even a library may come in unnoticed.
ALLOWED_LIBRARIES = {
    "server/memory": ["absl/*", "xxhash.h", "sys/mman.h", "unistd.h"],
    "server/similarity": ["absl/*", "xxhash.h", "immintrin.h"],
}

# The files in which the engine may name a concrete store; everything else of it knows the interfaces only.
STORE_IMPLEMENTATIONS = ["storage/rocksdb_*", "storage/ram_slot_store.h", "storage/snapshot.h"]
STORE_USERS = ["storage/*", "server/engine/catalog.*", "server/engine/snapshot*", "server/server.*", "server/tools/*", "tests/*"]

# Folders that nothing outside may include: what they make is made through a header elsewhere.
CLOSED = {"server/index/gpu": ["server/index/gpu/*", "tests/gpu/*", "tests/bench/*", "tests/testing/*", "tests/unit/*"]}

# A library, and the only files that may include it.
LIBRARY_HOMES = [
    ("gRPC", ["grpcpp/*", "grpc/*.h", "*.grpc.pb.h"],
     ["server/service/*", "server/server.cc", "client/*", "tests/*"]),
    ("protobuf", ["google/protobuf/*", "*.pb.h"], ["server/service/*", "server/page/explorer.cc", "server/server.cc", "client/*", "tests/*"]),
    ("FAISS", ["faiss/*"], ["server/index/faiss_*", "server/index/gpu/faiss_*", "server/index/ivf_index.*", "tests/*"]),
    ("CUDA", ["cuda*.h", "cublas*.h", "cuda/*", "device_launch_parameters.h", "mma.h", "cooperative_groups*"],
     ["server/index/gpu/*", "tests/gpu/*", "tests/bench/*"]),
    ("RocksDB", ["rocksdb/*"], ["storage/rocksdb_*", "storage/snapshot.cc", "tests/*"]),
    ("prometheus-cpp", ["prometheus/*"], ["server/metrics/*", "tests/*"]),
    ("civetweb", ["civetweb.h", "CivetServer.h"], ["server/http/*", "tests/*"]),
    ("OpenSSL", ["openssl/*"], ["server/service/tls.cc", "server/service/tokens.*", "storage/sha256.cc", "client/cli/digest.cc", "tests/*"]),
    ("spdlog", ["spdlog/*"], ["server/base/log.cc", "server/service/audit.cc", "tests/*"]),
    ("libzip", ["zip.h"], ["client/cli/export_*", "tests/*"]),
    ("toml++", ["toml++/*"], ["server/config/toml.h"]),
    ("libcurl", ["curl/*"], ["client/load/http_get.cc"]),
    ("CLI11", ["CLI/*"], ["server/tools/*", "client/cli/*", "client/load/*", "tests/*"]),
]

# What decides looks at a TurnView; a table read from there would be a decision that no proposal proves.
DECIDERS = ["server/memory/turn_view.*", "server/memory/write_rule.*", "server/memory/batch_plan.*"]
TABLES = ["server/memory/slot_table.h", "server/memory/shard_slots.h", "server/memory/age_order.h",
          "server/memory/value_index.h", "server/memory/free_slots.h"]

SOURCES = (".h", ".cc", ".cu", ".cuh", ".hpp")
PROJECT = ("server/", "storage/", "client/", "tests/")


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def layer_of(path, table):
    """The longest folder of `table` that `path` lies in, or None."""
    folder = os.path.dirname(path)
    while folder:
        if folder in table:
            return folder
        folder = os.path.dirname(folder)
    return None


def is_standard(included):
    """C++ standard headers have neither a dot nor a slash."""
    return "/" not in included and "." not in included


def layering(tree):
    """Every include along an arrow; every library in its one place."""
    for path in tree.with_suffix(*SOURCES):
        for number, included in tree.includes(path):
            problems = list(_problems(path, included))
            if problems:
                yield f"{path}:{number}: {path} -> {included}: {'; '.join(problems)}"


def _problems(path, included):
    if included.startswith(PROJECT):
        layer = layer_of(path, ALLOWED)
        if layer and not matches(included, ALLOWED[layer]):
            yield f"{layer} may include only {', '.join(ALLOWED[layer])}"
        for folder, users in CLOSED.items():
            if matches(included, [folder + "/*"]) and not matches(path, users):
                yield f"{folder} is nobody else's to include"
        if matches(included, STORE_IMPLEMENTATIONS) and not matches(path, STORE_USERS):
            yield "only the catalog names a concrete store"
    else:
        layer = layer_of(path, ALLOWED_LIBRARIES)
        if layer and not is_standard(included) and not matches(included, ALLOWED_LIBRARIES[layer]):
            yield f"{layer} may include only the standard library and {', '.join(ALLOWED_LIBRARIES[layer])}"
    for library, headers, homes in LIBRARY_HOMES:
        if matches(included, headers) and not matches(path, homes):
            yield f"{library} belongs in {', '.join(homes)}"


def deciders_see_no_table(tree):
    """The deciding files reach no table, not through other headers either."""
    tables = [table for table in TABLES if table in tree.paths]
    for start in tree.with_suffix(*SOURCES):
        if matches(start, DECIDERS):
            yield from _paths_to_tables(tree, start, tables)


def _paths_to_tables(tree, start, tables):
    seen, waiting = {start}, [(start, [])]
    while waiting:
        path, trail = waiting.pop(0)
        for number, included in tree.includes(path):
            step = trail + [f"{path}:{number}"]
            if included in tables:
                yield f"{step[0]}: {start} -> {included}: what decides reads no table (by {', '.join(step)})"
            elif included in tree.paths and included not in seen:
                seen.add(included)
                waiting.append((included, step))
