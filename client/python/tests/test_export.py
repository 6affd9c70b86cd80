"""Export to a file and back, against the scripted fake."""

import json
import os
import zipfile

import numpy as np
import pytest

import evoke
from evoke import _export_file
from fake_server import OK, break_off, lose_reply, refuse


def row(i, payloads=()):
    key = np.array([np.cos(i), np.sin(i)], "<f4").tobytes()
    return (7 - i, -i, 10 * (i + 1), i, key, tuple(payloads))


@pytest.fixture
def filled(fake):
    """The fake with 5 rows, of which two have payloads; their written steps are 10, 20, ..., the memory's is 57."""
    fake.rows = [row(0), row(1, [(0, 20, b"first"), (2, 19, b"x" * 300)]), row(2), row(3, [(1, 40, b"\0")]), row(4)]
    fake.step, fake.turn = 57, 9
    return fake


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "m.npz")


def emptied(fake):
    """Forgets all rows, as a new memory under the name would have."""
    fake.rows, fake.step, fake.turn, fake.uid = [], 0, 1, os.urandom(16)
    fake.sessions.clear()


def test_numpy_reads_what_is_exported(filled, client, path):
    told = []
    done = client.memory("m").export(path, progress=lambda *p: told.append(p))
    assert done.token == evoke.SnapshotToken(filled.uid, 1, 9, 57, filled.state_hash())
    assert (done.rows, done.bytes) == (5, os.path.getsize(path)) and not os.path.exists(path + ".partial")
    assert ("export", 5, 5) in told
    with np.load(path) as z:
        assert z.files == ["evoke.json"] + list(_export_file.COLUMNS)
        assert z["slots"].tolist() == [7, 6, 5, 4, 3] and z["values"].tolist() == [0, -1, -2, -3, -4]
        assert z["written_steps"].tolist() == [10, 20, 30, 40, 50] and z["hits"].tolist() == list(range(5))
        assert z["keys"].shape == (5, 2) and z["keys"][2].tobytes() == filled.rows[2][4]
        assert z["payload_rows"].tolist() == [1, 1, 3] and z["payload_places"].tolist() == [0, 2, 1]
        assert z["payload_steps"].tolist() == [20, 19, 40] and z["payload_ends"].tolist() == [5, 305, 306]
        assert z["payload_bytes"].tobytes() == b"first" + b"x" * 300 + b"\0"
        assert {name: z[name].dtype.str for name in _export_file.COLUMNS} == _export_file.COLUMNS
        header = json.loads(z["evoke.json"])
    assert header["format"] == "evoke-export 1" and header["spec"]["capacity"] == 8 and header["memory"] == "m"
    assert set(header["members"]) == {name + ".npy" for name in _export_file.COLUMNS}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}


def test_empty_memory_is_exported_and_comes_back(fake, client, path):
    assert client.memory("m").export(path).rows == 0
    with np.load(path) as z:
        assert z["keys"].shape == (0, 2)
    client.import_file(path)
    assert "Import" not in fake.requests


def test_payloads_can_be_left_out(filled, client, path):
    client.memory("m").export(path, payloads=False)
    with np.load(path) as z:
        assert len(z["payload_rows"]) == 0 and not json.loads(z["evoke.json"])["payloads"]


def test_export_that_breaks_goes_on_after_the_last_row(filled, client, path):
    filled.script["Export"] = [break_off(3), break_off(1), OK]  # two rows; none; the rest
    client.memory("m").export(path)
    asked = [(r.after_step, r.required_turn if r.HasField("required_turn") else None) for r in filled.requests["Export"]]
    assert asked == [(0, None), (20, 9), (20, 9)]
    with np.load(path) as z:
        assert z["written_steps"].tolist() == [10, 20, 30, 40, 50]


def test_export_of_an_earlier_process_is_continued(filled, client, path):
    filled.script["Export"] = [break_off(3, "DATA_LOSS", "CORRUPT_ROW")]
    with pytest.raises(evoke.DataLoss):
        client.memory("m").export(path)
    with open(path + ".partial/keys.raw", "ab") as torn:
        torn.write(b"half a row, not committed")
    client.memory("m").export(path)
    assert [r.after_step for r in filled.requests["Export"]] == [0, 20]
    assert_comes_back(filled, client, path)


def test_export_begins_anew_when_the_memory_went_on(filled, client, path):
    filled.script["Export"] = [break_off(3, "DATA_LOSS", "CORRUPT_ROW")]
    with pytest.raises(evoke.DataLoss):
        client.memory("m").export(path)
    filled.rows, filled.turn, filled.step = filled.rows[1:] + [row(5)], 10, 60
    assert client.memory("m").export(path).token.turn == 10
    assert [r.after_step for r in filled.requests["Export"]] == [0, 20, 0]
    with np.load(path) as z:
        assert z["written_steps"].tolist() == [20, 30, 40, 50, 60]


def test_export_begins_anew_for_another_memory_of_the_name(filled, client, path):
    filled.script["Export"] = [break_off(3, "DATA_LOSS", "CORRUPT_ROW")]
    with pytest.raises(evoke.DataLoss):
        client.memory("m").export(path)
    filled.uid = os.urandom(16)
    assert client.memory("m").export(path).token.uid == filled.uid
    assert [r.after_step for r in filled.requests["Export"]] == [0, 0]


def test_two_exports_to_one_file_do_not_mix(filled, client, path):
    def another(fake, apply, context):
        with pytest.raises(evoke.FailedPrecondition, match="another process exports"):
            client.memory("m").export(path)
        return apply()
    filled.script["Export"] = [another]
    client.memory("m").export(path)


def assert_comes_back(fake, client, path, **arguments):
    rows, step, state = list(fake.rows), fake.step, fake.state_hash()
    emptied(fake)
    client.import_file(path, **arguments)
    assert (fake.rows, fake.step, fake.state_hash()) == (rows, step, state)


def test_export_comes_back_bit_for_bit(filled, client, path, monkeypatch):
    client.memory("m").export(path)
    for chunk_bytes in (1, 100, 345, 10**6):
        monkeypatch.setattr("evoke._import_file.CHUNK_BYTES", chunk_bytes)
        assert_comes_back(filled, client, path)
    imports = filled.requests["Import"]
    assert [r.exact.rows for r in imports[:5]] == [1] * 5 and imports[-1].exact.rows == 5
    assert [r.HasField("step_after") for r in imports[:5]] == [False] * 4 + [True]


def test_import_sends_no_more_rows_than_the_server_takes(filled, client, path):
    client.memory("m").export(path)
    filled.max_rows = 2
    assert_comes_back(filled, client, path)
    assert [r.exact.rows for r in filled.requests["Import"]] == [2, 2, 1]


def test_import_that_breaks_is_continued_and_applied_once(filled, client, path):
    client.memory("m").export(path)
    rows, filled.max_rows = list(filled.rows), 2
    emptied(filled)
    filled.script["Import"] = [lose_reply(), OK, lose_reply(), refuse("FAILED_PRECONDITION", "READ_ONLY_DISK")]
    with pytest.raises(evoke.ReadOnlyDisk):
        client.import_file(path)
    assert len(filled.rows) == 4
    client.import_file(path)
    assert filled.rows == rows and filled.step == 57
    assert filled.requests["Import"][-1].exact.rows == 1
    client.import_file(path)  # all is there
    assert filled.rows == rows


def test_import_refuses_a_memory_that_holds_something_else(filled, client, path):
    client.memory("m").export(path)
    emptied(filled)
    for rows, step in (([row(0)], 15), ([row(1)], 10), ([], 10), ([row(0)[:1] + (99,) + row(0)[2:]], 10)):
        filled.rows, filled.step = rows, step
        with pytest.raises(evoke.SlotTaken):
            client.import_file(path)
    assert "Import" not in filled.requests


def test_state_that_differs_after_the_import_is_an_error(filled, client, path, monkeypatch):
    client.memory("m").export(path)
    emptied(filled)
    monkeypatch.setattr(filled, "state_hash", lambda: "f" * 32)
    with pytest.raises(evoke.DataLoss, match="state hash f{32} after the import"):
        client.import_file(path)


@pytest.mark.parametrize("member", ["evoke.json"] + [name + ".npy" for name in _export_file.COLUMNS])
def test_a_flipped_bit_is_found_before_anything_is_sent_and_its_member_named(filled, client, path, member):
    client.memory("m").export(path)
    with zipfile.ZipFile(path) as archive:
        info, data = archive.getinfo(member), bytearray(open(path, "rb").read())
    at = data.index(archive_bytes(path, member), info.header_offset) + info.file_size - 1
    data[at] ^= 4
    with open(path, "wb") as file:
        file.write(data)
    with pytest.raises(evoke.DamagedFile) as caught:
        client.import_file(path)
    assert caught.value.metadata["member"] == member and member in str(caught.value)
    assert "CreateMemory" not in filled.requests


def archive_bytes(path, member):
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


def test_files_that_are_no_export_are_refused(filled, client, path, tmp_path):
    client.memory("m").export(path)
    whole = open(path, "rb").read()
    for name, data in (("cut", whole[:-100]), ("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(evoke.DamagedFile):
            client.import_file(tmp_path / name)
    np.savez(tmp_path / "other.npz", keys=np.eye(2))
    with pytest.raises(evoke.DamagedFile, match="no export of Evoke"):
        client.import_file(tmp_path / "other.npz")
    with np.load(path) as z:
        np.savez_compressed(tmp_path / "packed.npz", **{n: z[n] for n in _export_file.COLUMNS})
    with zipfile.ZipFile(tmp_path / "packed.npz", "a") as archive:
        archive.writestr("evoke.json", archive_bytes(path, "evoke.json"))
    with pytest.raises(evoke.DamagedFile, match="compressed"):
        client.import_file(tmp_path / "packed.npz")
    text = json.loads(archive_bytes(path, "evoke.json"))
    with zipfile.ZipFile(tmp_path / "newer.npz", "w") as archive:
        archive.writestr("evoke.json", json.dumps(dict(text, format="evoke-export 2")))
    with pytest.raises(evoke.DamagedFile, match="'evoke-export 2', this client reads 'evoke-export 1'"):
        client.import_file(tmp_path / "newer.npz")
    with pytest.raises(FileNotFoundError):
        client.import_file(tmp_path / "nothing")
