"""Fixtures: a scripted fake for faults that a server shows rarely, and the real server that $EVOKE_EVOKED names."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

try:
    import evoke._proto.types_pb2  # installed
except ImportError:  # the source tree
    sys.path.insert(0, ROOT)
    import build_stubs
    build_stubs.generate()
sys.path.insert(0, HERE)

import evoke  # noqa: E402
from fake_server import FakeServer  # noqa: E402


@pytest.fixture
def fake():
    """A FakeServer that listens; stopped afterwards."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def client(fake):
    """A client of the fake that waits little between attempts."""
    with evoke.Client(fake.address, deadline=10.0,
                      retry=evoke.RetryPolicy(initial_backoff=0.001, max_backoff=0.01)) as c:
        yield c


@pytest.fixture(scope="session")
def real():
    """An evoke.Local of the built server; skips where there is none."""
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    with evoke.local(timeout=60) as server:
        yield server


@pytest.fixture
def memory(real, request):
    """A fresh ephemeral memory of the real server: key_dim 8, 64 slots."""
    name = request.node.name.replace("[", "-").replace("]", "").replace("/", "-")[:100]
    m = real.client.create_memory(name, key_dim=8, capacity=64, durability="memory")
    yield m
    m.delete()
