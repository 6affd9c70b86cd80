"""Everything of the client that is not exactly-once: arrays, error details, specs, pickles, wrong arguments."""

import pickle

import numpy as np
import pytest

import evoke
from evoke import _codec, _spec, _status
from evoke._proto import admin_service_pb2 as admin_pb2
from evoke._proto import types_pb2
from fake_server import OK, refuse, status_bytes


def test_status_details_are_decoded():
    data = status_bytes(8, "MAILBOX_FULL", {"limit": "64", "waiting": "65"}, delay=1.25)
    assert _status.decode(data) == ("MAILBOX_FULL", {"limit": "64", "waiting": "65"}, 1.25)


def test_details_of_another_domain_give_no_reason():
    assert _status.decode(status_bytes(8, "X", domain="googleapis.com")).reason == ""


def test_damaged_details_are_no_details():
    good = status_bytes(8, "MAILBOX_FULL", {"a": "b"}, delay=3.5)
    rng = np.random.default_rng(1)
    for cut in range(len(good)):
        _status.decode(good[:cut])
    for _ in range(2000):
        data = bytearray(good)
        data[rng.integers(len(data))] = rng.integers(256)
        _status.decode(bytes(data))
    assert _status.decode(None) == _status.Details()


def test_every_reason_has_its_exception(fake, client):
    for code, reason, expected in (("NOT_FOUND", "MEMORY_NOT_FOUND", evoke.MemoryNotFound),
                                   ("ALREADY_EXISTS", "SPEC_DIFFERS", evoke.SpecDiffers),
                                   ("FAILED_PRECONDITION", "STALE_MEMORY", evoke.StaleMemory),
                                   ("INTERNAL", "", evoke.Internal), ("UNAUTHENTICATED", "", evoke.Unauthenticated)):
        fake.script["Query"] = [refuse(code, reason, {"field": "x"})]
        with pytest.raises(expected) as caught:
            client.memory("m").query([1.0, 2.0])
        assert caught.value.code.name == code and reason in str(caught.value)


def test_error_survives_a_pickle():
    error = evoke.MailboxFull("full", reason="MAILBOX_FULL", metadata={"a": "b"}, retry_delay=0.5, outcome_unknown=True)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


@pytest.mark.parametrize("x, dtype, bytes_a_row", [
    (np.ones((3, 2), np.float32), types_pb2.DTYPE_FLOAT32, 8),
    (np.ones((3, 2), np.float16), types_pb2.DTYPE_FLOAT16, 4),
    (np.ones((3, 2)), types_pb2.DTYPE_FLOAT32, 8), ([[1, 2], [3, 4], [5, 6]], types_pb2.DTYPE_FLOAT32, 8),
    (np.ones((3, 2), ">f4"), types_pb2.DTYPE_FLOAT32, 8), (np.ones((2, 3), np.float32).T, types_pb2.DTYPE_FLOAT32, 8)])
def test_matrix_keeps_what_travels_and_widens_the_rest(x, dtype, bytes_a_row):
    m = types_pb2.Matrix(**_codec.matrix(x))
    assert (m.dtype, m.rows, m.dim, len(m.data)) == (dtype, 3, 2, 3 * bytes_a_row)
    if bytes_a_row == 8:
        assert np.array_equal(np.frombuffer(m.data, "<f4").reshape(3, 2), np.asarray(x))


def test_matrix_takes_tensors_of_any_kind():
    torch = pytest.importorskip("torch")
    for dtype, expected in ((torch.float32, types_pb2.DTYPE_FLOAT32), (torch.float64, types_pb2.DTYPE_FLOAT32),
                            (torch.float16, types_pb2.DTYPE_FLOAT16), (torch.bfloat16, types_pb2.DTYPE_BFLOAT16)):
        m = types_pb2.Matrix(**_codec.matrix(torch.ones(2, 3, dtype=dtype, requires_grad=True).t()))
        assert (m.dtype, m.rows, m.dim) == (expected, 3, 2)
    assert np.frombuffer(m.data, np.uint16)[0] == 0x3F80  # 1.0 in bfloat16


@pytest.mark.parametrize("call", [
    lambda m: m.query(np.ones((1, 2, 3))), lambda m: m.query([["a", "b"]]), lambda m: m.update(np.ones((2, 2)), [1]),
    lambda m: m.update(np.ones((2, 2)), [1.5, 2]), lambda m: m.update(np.ones((2, 2)), [1, 2], write=[1, 0]),
    lambda m: m.update(np.ones((2, 2)), [1, 2], skip=[True]),
    lambda m: m.update(np.ones((2, 2)), [1, 2], payloads=[b""]),
    lambda m: m.train_step(np.ones((2, 2)), [1, 2], form="gradients"),
    lambda m: m.update(np.ones((1, 2)), np.array([2**63], np.uint64))])
def test_wrong_arguments_are_refused_before_anything_is_sent(fake, client, call):
    with pytest.raises(evoke.InvalidArgument) as caught:
        call(client.memory("m"))
    assert isinstance(caught.value, ValueError) and caught.value.reason
    assert not fake.requests


def test_bits_go_lowest_first():
    assert _codec.bits(np.array([True] + [False] * 8 + [True])) == bytes([1, 2])
    assert _codec.unbits(bytes([1, 2]), 10).tolist() == [True] + [False] * 8 + [True]
    with pytest.raises(evoke.Internal):
        _codec.unbits(b"", 1)


def test_spec_goes_there_and_back():
    given = {"key_dim": 3, "capacity": 5, "seed": 2**64 - 1, "merge_on_miss": 0.0, "margin": 0.1, "batch": "sequential",
             "durability": "wal", "age_noise": 0, "write_rule": "rare_events", "fold_misses": None}
    expected = {k: v for k, v in given.items() if v is not None}
    assert _spec.from_proto(_spec.to_proto(given)) == expected


def test_spec_names_the_nearest_field_and_the_legal_values():
    with pytest.raises(TypeError, match="did you mean 'merge_on_miss'"):
        _spec.to_proto({"merge_on_mis": 0})
    with pytest.raises(ValueError, match="'memory', 'wal', 'fsync'"):
        _spec.to_proto({"durability": "disk"})
    with pytest.raises(ValueError, match="key_dim"):
        _spec.to_proto({"key_dim": -1})


def test_create_is_repeated_with_the_same_uid(fake, client):
    fake.script["CreateMemory"] = [refuse("UNAVAILABLE", "LOADING"), OK]
    memory = client.create_memory("m", key_dim=2, capacity=8)
    uids = {r.uid for r in fake.requests["CreateMemory"]}
    assert uids == {memory.uid} and len(memory.uid) == 16


def test_delete_names_the_uid_so_that_a_repetition_cannot_hit_a_namesake(fake, client):
    fake.script["DeleteMemory"] = [refuse("UNAVAILABLE"), OK]
    assert client.delete_memory("m")
    assert [r.uid for r in fake.requests["DeleteMemory"]] == [fake.uid] * 2


def test_status_tells_the_alarms_and_their_causes(fake, client):
    assert client.status().alarms == ()
    fake.alarms = [admin_pb2.Alarm(name="corrupt", memory="m", message="000012.sst: block checksum", active_seconds=2.5),
                   admin_pb2.Alarm(name="disk", memory="n", message="No space left on device", active_seconds=0.5)]
    assert client.status().alarms == (evoke.Alarm("corrupt", "m", "000012.sst: block checksum", 2.5),
                                      evoke.Alarm("disk", "n", "No space left on device", 0.5))


def test_client_and_memory_pickle_without_connections(fake, client):
    memory = client.memory("m")
    memory.update(np.eye(2), [1, 2])
    copy = pickle.loads(pickle.dumps(memory))
    copy.update(np.eye(2), [1, 2])
    assert (copy.name, copy.uid, copy.client.addresses) == (memory.name, memory.uid, client.addresses)
    assert [r.mutation.number for r in fake.requests["Update"]] == [1, 1]


def test_closed_client_refuses(fake):
    client = evoke.Client(fake.address)
    client.status()
    client.close()
    with pytest.raises(evoke.Cancelled):
        client.status()


@pytest.mark.parametrize("address", ["", [], 7, [None]])
def test_senseless_address_is_refused(address):
    with pytest.raises(ValueError):
        evoke.Client(address)


def test_port_has_a_default():
    assert evoke.Client("example").addresses == ("example:7380",)


def test_local_says_where_it_looked(monkeypatch):
    monkeypatch.delenv("EVOKE_EVOKED", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FileNotFoundError, match="EVOKE_EVOKED"):
        evoke.local()


def test_local_tells_the_last_words_of_a_server_that_ends(tmp_path):
    program = tmp_path / "evoked"
    program.write_text("#!/bin/sh\necho no room left >&2\nexit 5\n")
    program.chmod(0o755)
    with pytest.raises(evoke.EvokeError, match="(?s)status 5.*no room left"):
        evoke.local(evoked=str(program), timeout=10)
