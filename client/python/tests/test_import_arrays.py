"""Import of arrays that were trained elsewhere, against the scripted fake."""

import numpy as np
import pytest

import evoke
from evoke import _transfer_calls, import_npz
from fake_server import OK, lose_reply, refuse

KEYS = np.array([[np.cos(i), np.sin(i)] for i in range(6)], np.float32)


def test_arrays_are_written_oldest_first_and_ties_keep_their_rows(fake, client):
    result = client.memory("m").import_arrays(KEYS, np.arange(6), ages=[3, 9, 3, 0, 9, 3])
    assert [r[1] for r in fake.rows] == [1, 4, 0, 2, 5, 3]
    assert result.slots.tolist() == [2, 0, 3, 5, 1, 4] and result.header.step == 6
    assert fake.rows[0][4] == KEYS[1].tobytes()


@pytest.mark.parametrize("ages", [np.array([0, 255, 1], np.uint8), np.array([-2.0**127, 2.0**127, 0], np.float32),
                                  np.array([-2**63, 2**63 - 1, 0])])
def test_ages_of_any_type_are_ordered(ages):
    assert _transfer_calls._oldest_first(ages, 3).tolist() == [1, 2, 0]


def test_without_ages_the_first_row_is_the_oldest(fake, client):
    client.memory("m").import_arrays(KEYS, np.arange(6), payloads=[b"a", None] * 3)
    assert [r[1] for r in fake.rows] == list(range(6)) and fake.rows[2][5] == ((0, 3, b"a"),)


def test_arrays_travel_in_chunks_that_are_applied_once(fake, client, monkeypatch):
    fake.max_rows, fake.script["Import"] = 4, [lose_reply(), OK, OK]
    client.memory("m").import_arrays(KEYS, np.arange(6))
    assert [r.new_rows.embeddings.rows for r in fake.requests["Import"]] == [4, 4, 2] and len(fake.rows) == 6
    fake.rows.clear()
    monkeypatch.setattr(_transfer_calls, "CHUNK_BYTES", 100)  # a row has 16 bytes, and its payload 20
    client.memory("m").import_arrays(KEYS, np.arange(6), payloads=[b"p" * 20] * 6)
    assert [r.new_rows.embeddings.rows for r in fake.requests["Import"][3:]] == [2, 2, 2]


def test_failed_import_of_arrays_says_how_many_rows_are_in(fake, client):
    fake.max_rows, fake.script["Import"] = 4, [OK, refuse("FAILED_PRECONDITION", "READ_ONLY_DISK")]
    with pytest.raises(evoke.ReadOnlyDisk) as caught:
        client.memory("m").import_arrays(KEYS, np.arange(6))
    assert caught.value.metadata["imported_rows"] == "4" and len(fake.rows) == 4


@pytest.mark.parametrize("keys, values, ages, reason", [
    (np.full((1, 2), np.nan), [1], None, "NON_FINITE"), (np.zeros((1, 2)), [1], None, "BAD_NORM"),
    (np.full((1, 2), 1e30), [1], None, "BAD_NORM"), (np.ones((1, 3)), [1], None, "BAD_SHAPE"),
    (np.ones(2), [1], None, "BAD_SHAPE"), (np.ones((2, 2)), [1], None, "BAD_SHAPE"),
    (np.ones((1, 2)), [1], [np.nan], "NON_FINITE"), (np.ones((1, 2)), [1], [1, 2], "BAD_SHAPE"),
    (np.ones((1, 2)), [1.5], None, "BAD_SHAPE"), (np.ones((9, 2)), range(9), None, "MEMORY_FULL")])
def test_bad_arrays_are_refused_before_anything_is_sent(fake, client, keys, values, ages, reason):
    with pytest.raises(evoke.EvokeError) as caught:
        client.memory("m").import_arrays(keys, list(values), ages)
    assert caught.value.reason == reason and "Import" not in fake.requests


def test_bfloat16_keys_of_torch_are_widened(fake, client):
    torch = pytest.importorskip("torch")
    client.memory("m").import_arrays(torch.tensor([[1.5, -2.0]]).bfloat16(), [1])
    assert fake.rows[0][4] == np.array([1.5, -2.0], "<f4").tobytes()


def imported(client, *argv):
    return import_npz.run(import_npz.parse(["--memory", "m"] + [str(a) for a in argv]), client)


def test_variables_of_the_authors_module_are_found_by_their_names(fake, client, tmp_path, capsys):
    keys = np.concatenate([KEYS[:3], np.zeros((2, 2), np.float32)])
    np.savez(tmp_path / "tf.npz", **{"memory/memkeys:0": keys, "memory/memvals:0": np.array([4, 5, 6, 0, 0], np.int32),
                                     "memory/memage:0": np.array([1, 7, 2, 90, 91], np.float32)})
    line = imported(client, tmp_path / "tf.npz", "--create")
    assert [r[1] for r in fake.rows] == [5, 6, 4] and "3 rows (2 never written)" in line
    assert fake.requests["CreateMemory"][0].spec.capacity == 5


def test_npy_files_and_named_arrays_are_imported(fake, client, tmp_path):
    np.save(tmp_path / "k.npy", KEYS)
    np.save(tmp_path / "v.npy", np.arange(6))
    imported(client, tmp_path / "k.npy", "--values", tmp_path / "v.npy")
    assert [r[1] for r in fake.rows] == list(range(6))
    np.savez(tmp_path / "a.npz", a=KEYS[:1], b=[8], c=[1])
    imported(client, tmp_path / "a.npz", "--keys", "a", "--values", "b")
    assert fake.rows[-1][1] == 8


def test_import_npz_says_what_is_missing(fake, client, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", keys=KEYS)
    with pytest.raises(import_npz.Usage, match="no values"):
        imported(client, tmp_path / "a.npz")
    assert import_npz.main([str(tmp_path / "a.npz"), "--memory", "m", "--values", "zz", "--address", fake.address]) == 2
    assert "no array 'zz' for --values; the file has keys" in capsys.readouterr().err
