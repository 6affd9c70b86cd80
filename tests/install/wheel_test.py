"""The wheels of the Python client: whole, honest about what they need, and enough for evoke.local() by themselves."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import zipfile

import pytest
from conftest import need, run

pytestmark = pytest.mark.slow

ANSWER = """
import evoke
from evoke._local import find_evoked
with evoke.local() as server:
    memory = server.client.create_memory("birds", key_dim=2, capacity=8)
    memory.update([1, 0], 17, payloads=[b"photo"])
    server.kill()
    server.start()
    answer = memory.query([1, 0], payloads=True)
    print(find_evoked(), answer.values.tolist(), answer.neighbors.payloads[0])
"""

# Every message, and a field of each kind: what a runtime makes of code that another one's compiler wrote.
ROUND_TRIP = """
import google.protobuf
from google.protobuf.internal import api_implementation
from evoke._proto import admin_service_pb2, memory_service_pb2, types_pb2
for module in (admin_service_pb2, memory_service_pb2, types_pb2):
    for name in module.DESCRIPTOR.message_types_by_name:
        message = getattr(module, name)
        assert message.FromString(message().SerializeToString()) == message()
query = memory_service_pb2.QueryRequest()
query.memory.name = "birds"
query.embeddings.data = b"1234"
query.k = 3
again = memory_service_pb2.QueryRequest.FromString(query.SerializeToString())
assert again == query and again.HasField("k") and types_pb2.Durability.Name(types_pb2.DURABILITY_FSYNC)
print(google.protobuf.__version__, api_implementation.Type())
"""

# Stands in for a library that this interpreter does not have.
IMPORT_ALL = """
import pkgutil, sys
from unittest import mock
for name in ("numpy", "grpc", "grpc.aio", "grpc.experimental", "torch", "torch.nn", "torch.autograd", "torch.autograd.function"):
    sys.modules[name] = mock.MagicMock(__version__="1.99.0")
import evoke
print(sorted(m.name for m in pkgutil.iter_modules(evoke.__path__)))
"""


@pytest.fixture(scope="module")
def wheels(source_dir, build_dir, tmp_path_factory):
    """(client's wheel, the wheel with the server)"""
    need("patchelf", "strip", "objdump", "protoc", "grpc_python_plugin")
    folder = tmp_path_factory.mktemp("wheels")
    run(source_dir / "deploy/wheels.sh", folder, build_dir / "bin/evoked")
    return tuple(next(folder.glob("evoke-*-py3-none-%s*.whl" % kind)) for kind in ("any", "manylinux"))


@pytest.fixture(scope="module")
def unpacked(wheels, tmp_path_factory):
    """Both wheels as folders."""
    folders = []
    for wheel in wheels:
        folders.append(tmp_path_factory.mktemp("unpacked"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folders[-1])
    return folders


def protobufs():
    """Folders with a google/protobuf: None for the installed one, and what EVOKE_PROTOBUFS names, by colon."""
    return [None] + [path for path in os.environ.get("EVOKE_PROTOBUFS", "").split(":") if path]


def test_the_wheels_say_what_they_are(wheels, unpacked):
    client, server = unpacked
    names = {path.relative_to(client).as_posix() for path in client.rglob("*.py")}
    assert "evoke/_proto/types_pb2_grpc.py" in names and not list(client.rglob("*.so*"))
    for folder, wheel in zip(unpacked, wheels):
        about = email.message_from_string(next(folder.glob("*.dist-info/METADATA")).read_text())
        needs = {re.match(r"\w+", need).group(0) for need in about.get_all("Requires-Dist") if "extra" not in need}
        assert needs == {"grpcio", "protobuf", "numpy"} and about["Requires-Python"] == ">=3.9"
        tag = email.message_from_string(next(folder.glob("*.dist-info/WHEEL")).read_text())
        assert "py3-none-" + wheel.stem.split("-none-")[1] == tag["Tag"]
        assert tag["Root-Is-Purelib"] == ("false" if folder is server else "true")


def test_the_servers_libraries_are_inside_and_the_tag_names_its_glibc(wheels, unpacked):
    package = unpacked[1] / "evoke"
    program = package / "bin/evoked"
    program.chmod(0o755)
    allowed = re.compile(r"/(ld-linux[^/]*|lib(c|m|pthread|dl|rt|resolv))\.so\.\d+$")
    # Where a machine's own libraries come first in every search but ours.
    loaded = re.findall(r"=> (/\S+)", run("ldd", program, env={**os.environ, "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu"}))
    outside = [path for path in loaded if not os.path.realpath(path).startswith(str(package.resolve()))]
    assert len(loaded) > 20 and all(allowed.search(path) for path in outside), outside
    newest = max((int(major), int(minor)) for path in [program, *package.glob("lib/*")]
                 for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", run("objdump", "-T", path)))
    assert "manylinux_%d_%d_" % newest in wheels[1].name


def test_every_library_comes_with_its_license(unpacked):
    licenses = {path.name for path in unpacked[1].glob("*.dist-info/licenses/*")}
    assert {"librocksdb7.8.txt", "libgrpc29.txt", "libssl3.txt", "libopenblas0-openmp.txt"} <= licenses


def test_evoke_local_needs_nothing_but_the_wheel(wheels, tmp_path):
    need("/usr/bin/python3")
    venv = tmp_path / "venv"
    # gRPC and NumPy are the system's: there is no index here to have them from.
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", venv)
    run(venv / "bin/pip", "install", "--quiet", "--no-index", "--no-deps", wheels[1])
    told = run(venv / "bin/python", "-c", ANSWER, env={"PATH": "/nowhere", "HOME": str(tmp_path)}, cwd=tmp_path)
    assert told.startswith(str(venv)) and "[17]" in told and "b'photo'" in told


def test_pip_prefers_the_wheel_with_the_server(wheels, tmp_path):
    venv = tmp_path / "venv"
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", venv)
    run(venv / "bin/pip", "install", "--quiet", "--no-index", "--no-deps", "--find-links", wheels[0].parent, "evoke")
    assert list(venv.glob("lib/python3*/site-packages/evoke/bin/evoked"))


@pytest.mark.parametrize("protobuf", protobufs(), ids=lambda path: path or "installed")
@pytest.mark.parametrize("implementation", ["cpp", "python", "upb"])
def test_generated_code_loads_under_every_protobuf(unpacked, tmp_path, protobuf, implementation):
    path = [str(unpacked[0])]
    if protobuf:
        (tmp_path / "google").mkdir()
        (tmp_path / "google/protobuf").symlink_to(pathlib.Path(protobuf) / "google/protobuf")
        path.append(str(tmp_path))
    done = subprocess.run(["/usr/bin/python3", "-W", "error::DeprecationWarning:evoke", "-c", ROUND_TRIP], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1",
                               "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation})
    if done.returncode != 0 and re.search(r"cannot import name '_message'|No module named 'google._upb'", done.stdout):
        pytest.skip("this protobuf has no implementation in %s" % implementation)
    assert done.returncode == 0, done.stdout


def test_generated_code_asks_for_no_newer_protobuf(unpacked):
    for path in unpacked[0].glob("evoke/_proto/*_pb2*.py"):
        assert not re.search(r"runtime_version|_registered_method|GRPC_GENERATED_VERSION", path.read_text()), path


def test_the_oldest_python_takes_every_module(unpacked):
    oldest = os.environ.get("EVOKE_OLDEST_PYTHON")
    if not oldest:
        oldest = shutil.which("python3.9")
        # A version manager has one of that name on PATH that only says which versions there are.
        if not oldest or subprocess.run([oldest, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("needs python3.9 on PATH, or EVOKE_OLDEST_PYTHON")
    run(oldest, "-m", "compileall", "-q", unpacked[0] / "evoke")
    protobuf = [path for path in protobufs() if path] or [os.path.dirname(os.path.dirname(os.path.dirname(
        subprocess.run(["/usr/bin/python3", "-c", "import google.protobuf as p; print(p.__file__)"], check=True, text=True,
                       stdout=subprocess.PIPE).stdout)))]
    fake = unpacked[0].parent / "oldest"
    (fake / "google").mkdir(parents=True, exist_ok=True)
    if not (fake / "google/protobuf").exists():
        (fake / "google/protobuf").symlink_to(pathlib.Path(protobuf[-1]) / "google/protobuf")
    told = run(oldest, "-c", IMPORT_ALL, env={"PATH": os.environ["PATH"], "PYTHONPATH": "%s:%s" % (unpacked[0], fake),
                                              "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"})
    assert "memory" in told
