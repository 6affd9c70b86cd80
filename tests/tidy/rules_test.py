"""Each rule can fail: a small tree that breaks it is found out, with file and line, and its mended twin is not."""

import pytest

import layers
import text_rules
from source_tree import SourceTree


@pytest.fixture
def plant(tmp_path):
    """plant({path: text}) -> the SourceTree of exactly these files."""
    def make(files):
        for path, text in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return SourceTree(str(tmp_path))
    return make


def breaches(rule, tree):
    return [line.split(": ")[0] for line in rule(tree)]


EDGES = [
    ("storage/turn_record.cc", '#include "server/base/check.h"'),
    ("client/cpp/evoke/client.cc", '#include "server/base/check.h"'),
    ("client/cpp/evoke/client.cc", '#include "storage/ids.h"'),
    ("server/memory/slot.h", '#include "server/index/index.h"'),
    ("server/memory/slot.h", '#include "storage/slot_store.h"'),
    ("server/memory/slot.h", "#include <grpcpp/server.h>"),
    ("server/memory/slot.h", "#include <spdlog/spdlog.h>"),
    ("server/index/index.h", '#include "server/memory/slot.h"'),
    ("server/similarity/rank.h", '#include "server/base/check.h"'),
    ("server/base/clock.h", '#include "server/engine/engine.h"'),
    ("server/engine/engine.h", '#include "server/service/convert.h"'),
    ("server/engine/engine.cc", '#include "storage/rocksdb_slot_store.h"'),
    ("server/engine/engine.cc", "#include <grpcpp/server.h>"),
    ("server/engine/engine.cc", '#include "evoke/v1/types.pb.h"'),
    ("server/http/status.cc", '#include "evoke/v1/admin_service.grpc.pb.h"'),
    ("server/index/flat_index.cc", "#include <faiss/IndexFlat.h>"),
    ("storage/slot_record.cc", "#include <rocksdb/db.h>"),
    ("server/engine/engine_probe.h", "#include <prometheus/counter.h>"),
    ("server/service/auth.cc", "#include <openssl/crypto.h>"),
    ("client/load/lane.cc", '#include "client/cli/output.h"'),
    ("client/cli/commands.cc", "#include <curl/curl.h>"),
    ("server/index/gpu_index.cc", '#include "server/index/gpu/device.h"'),
    ("server/engine/local_shard.cc", '#include "server/index/gpu/device.h"'),
    ("server/index/gpu/device.h", '#include "server/engine/shard.h"'),
    ("server/index/gpu_index.h", "#include <cuda_runtime_api.h>"),
    ("server/index/gpu/device.cc", "#include <faiss/gpu/GpuDistance.h>"),
]


@pytest.mark.parametrize("path, line", EDGES)
def test_layering_finds_a_forbidden_edge(plant, path, line):
    assert breaches(layers.layering, plant({path: "#pragma once\n" + line + "\n"})) == [path + ":2"]


def test_layering_allows_the_arrows(plant):
    assert not breaches(layers.layering, plant({
        "server/memory/slot.h": '#include "storage/ids.h"\n#include "server/similarity/rank.h"\n#include <vector>\n'
                                '#include "absl/types/span.h"\n#include <xxhash.h>\n',
        "server/index/faiss_flat_index.cc": "#include <faiss/IndexFlat.h>\n",
        "server/index/ivf_index.cc": "#include <faiss/IndexIVF.h>\n",
        "server/index/gpu/faiss_keys.h": "#pragma once\n#include <faiss/gpu/GpuIndexFlat.h>\n#include <cuda_runtime_api.h>\n",
        "server/index/gpu/device_search_factory.cc": '#include "server/index/gpu/faiss_keys.h"\n',
        "storage/rocksdb_slot_store.cc": "#include <rocksdb/db.h>\n",
        "server/engine/catalog.cc": '#include "storage/rocksdb_slot_store.h"\n',
        "server/service/convert.cc": '#include "evoke/v1/types.pb.h"\n',
        "server/main.cc": '#include "server/server.h"\n'}))


@pytest.mark.parametrize("table", ["slot_table.h", "shard_slots.h", "age_order.h", "value_index.h"])
@pytest.mark.parametrize("decider", ["turn_view.h", "write_rule.cc", "batch_plan.h"])
def test_a_decider_may_not_reach_a_table(plant, decider, table):
    tree = plant({f"server/memory/{decider}": '#include "server/memory/slot.h"\n',
                  "server/memory/slot.h": f'#pragma once\n#include "server/memory/{table}"\n',
                  f"server/memory/{table}": "#pragma once\n"})
    assert breaches(layers.deciders_see_no_table, tree) == [f"server/memory/{decider}:1"]


def test_others_may_reach_a_table(plant):
    assert not breaches(layers.deciders_see_no_table, plant({
        "server/engine/local_shard.h": '#include "server/memory/slot_table.h"\n',
        "server/memory/slot_table.h": "#pragma once\n"}))


@pytest.mark.parametrize("cmake", [
    {},  # no list at all
    {"tests/CMakeLists.txt": "evoke_add_test(NAME b SOURCES unit/b_test.cc)\n"},
    {"tests/CMakeLists.txt": "evoke_add_test(NAME a SOURCES unit/aa_test.cc)\n"},
    {"tests/CMakeLists.txt": "# unit/a_test.cc\n"},
    {"tests/unit/CMakeLists.txt": "evoke_add_test(NAME a SOURCES a_test.cc)\n"},  # nothing adds this folder
])
def test_targets_finds_a_test_that_nothing_builds(plant, cmake):
    files = {"CMakeLists.txt": "add_subdirectory(tests)\n", "tests/CMakeLists.txt": "\n", "tests/unit/a_test.cc": "\n"}
    assert breaches(text_rules.targets, plant({**files, **cmake})) == ["tests/unit/a_test.cc:1"]


def test_targets_knows_lists_in_the_folder_and_above(plant):
    assert not breaches(text_rules.targets, plant({
        "CMakeLists.txt": "add_subdirectory(tests)\n",
        "tests/CMakeLists.txt": "add_subdirectory(unit)\nevoke_add_test(NAME b SOURCES component/b_test.cc)\n",
        "tests/unit/CMakeLists.txt": "evoke_add_test(NAME a SOURCES a_test.cc)\n",
        "tests/unit/a_test.cc": "", "tests/component/b_test.cc": ""}))


def test_size_finds_a_long_file(plant):
    tree = plant({"server/a.cc": "//\n" * 601, "server/b.cc": "//\n" * 600, "tests/data/long.txt": "\n" * 5000})
    assert breaches(text_rules.size, tree) == ["server/a.cc:601"]


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "XX" + "X"])
def test_finished_finds_a_leftover(plant, word):
    tree = plant({"server/a.cc": f"\n// {word}: later\n", "server/b.cc": f"// mas{word}tery\n", "c.sh": "mktemp\n"})
    assert breaches(text_rules.finished, tree) == ["server/a.cc:2"]


@pytest.mark.parametrize("place", ["work", "root", "home"])
def test_no_machine_path_finds_one(plant, place):
    tree = plant({"a.sh": f"\ncd /{place}/me\n", "b.sh": f"cd $HOME/{place}/me\ncd net{place}/x\n"})
    assert breaches(text_rules.no_machine_path, tree) == ["a.sh:2"]


def test_guards_finds_a_header_without(plant):
    tree = plant({"a.h": "// A.\n#include <vector>\n", "b.h": "/* B\n */\n\n#pragma once\n", "c.h": "// C\n",
                  "d.h": "#ifndef D_H\n"})
    assert breaches(text_rules.guards, tree) == ["a.h:2", "c.h:1", "d.h:1"]


def test_readmes_finds_a_folder_without(plant):
    tree = plant({"README.md": "", "server/README.md": "", "server/index/a.h": "", "server/index/gpu/b.h": "",
                  "storage/c.h": "", "client/cpp/README.md": "", "client/cpp/evoke/testing/d.h": "",
                  "tests/README.md": "", "tests/unit/index/e_test.cc": ""})
    assert breaches(text_rules.readmes, tree) == ["server/index/gpu:1", "storage:1"]


def test_proto_comments_finds_what_says_nothing(plant):
    tree = plant({"proto/evoke/v1/a.proto": """
message Silent {
  uint32 a = 1;
  uint32 b = 2;  // rows
  // Above.
  optional bytes c = 3;
  repeated Silent d = 4;
  map<string, uint32> e = 5;
}
// Described.
message Loud {
  oneof what {
    Loud f = 1;
    uint64 g = 2 [deprecated = true];
  }
}
// What kind.
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_ONE = 1;  // the first
  KIND_TWO = 2;
}
service Service {
  rpc Ask(AskRequest) returns (AskResponse);
  // Tells.
  rpc Tell(TellRequest) returns (TellResponse);
}
message AskRequest {
  uint32 h = 1;
}
"""})
    assert list(text_rules.proto_comments(tree)) == [
        f"proto/evoke/v1/a.proto:{line}: {name} has no comment" for line, name in
        [(2, "Silent"), (3, "a"), (7, "d"), (8, "e"), (14, "g"), (21, "KIND_TWO"), (24, "Ask"), (29, "h")]]


def test_tool_folders_are_not_part_of_the_tree(plant):
    tree = plant({"build/ci/a.h": "", "build-x/b.h": "", "client/python/evoke/_proto/c.py": "", "server/d.h": "",
                  "server/e.bin": "\0"})
    assert tree.paths == ["server/d.h", "server/e.bin"]
    assert tree.text("server/e.bin") is None
