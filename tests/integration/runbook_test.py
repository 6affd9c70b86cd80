"""Every command of the runbook (deploy/README.md, deploy/ALERTS.md) does what it says, against real servers that are trained meanwhile.

Needs $EVOKE_EVOKED, with evokectl and evoke-inspect beside it.
"""

import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import pytest

import evoke
from runbook_shell import Shell, eventually, read_blocks, runbook_blocks

ROWS = 20
KEYS = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)


@pytest.fixture
def place():
    """A folder with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="evoke-") as path:
        yield pathlib.Path(path)


@pytest.fixture
def machine(place):
    """Makes a shell of a machine by its name; all share the backups."""
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    binaries = os.path.dirname(os.path.abspath(os.environ["EVOKE_EVOKED"]))
    shells = []

    def make(name="one", **variables):
        shells.append(Shell(place / name, binaries, NEW=binaries, **variables))
        return shells[-1]

    yield make
    for shell in shells:
        shell.__exit__()


def started(shell):
    shell.run("configure")
    shell.start()
    return shell


def payload(value):
    return b"photo %04d " % value * 300  # so long that few share a block of the table file


def train(memory, batches):
    """Teaches these batches of 20 rows, row i with value i."""
    for i in batches:
        rows = np.arange(ROWS * i, ROWS * (i + 1))
        memory.update(KEYS[rows], rows, payloads=[payload(r) for r in rows])


def faces(shell, name="faces", batches=range(2)):
    """A memory of 40 slots, and a handle of it."""
    memory = evoke.Client(shell.address).create_memory(name, key_dim=16, capacity=500)
    train(memory, batches)
    return memory


def state(memory):
    now = memory.state_hash()
    return now.header.step, now.state_hash


def flip_bit(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def table_file(shell, uid):
    """The one that holds the whole memory; only after a restart, which replays the log into it."""
    tables = sorted((shell.data / "memories" / uid.hex() / "store").glob("*.sst"), key=lambda p: p.stat().st_size)
    return tables[-1]


def test_every_block_of_commands_is_run_by_a_test_of_this_file_or_says_why_not():
    used = set(re.findall(r'\.(?:run|start)\("([a-z-]+)"', pathlib.Path(__file__).read_text(encoding="utf-8")))
    assert used | {"variables", "start", "stop"} == set(runbook_blocks())


@pytest.mark.parametrize("text", ["```sh\nls\n```\n", "```sh run=a\nls\n```\n```sh run=a\nls\n```\n",
                                  "```sh no-run:\nls\n```\n", "```\nevokectl status\n```\n", "```sh run\nls\n```\n"])
def test_a_block_without_a_mark_is_refused(text):
    with pytest.raises(ValueError, match="line "):
        read_blocks(text)


def test_a_stop_loses_nothing_and_the_trainer_goes_on_after_the_next_start(machine):
    shell = started(machine())
    memory = faces(shell)
    before = state(memory)
    printed = shell.run("look")
    assert before[1] in printed and "[+]" in printed
    shell.stop()
    shell.run("stop")  # once more: nobody is there to be stopped
    shell.start()
    assert state(memory) == before
    train(memory, [2])
    assert state(memory)[0] == 3 * ROWS


def test_what_an_alert_sends_one_to_look_at_tells_it(machine):
    shell = started(machine())
    memory = faces(shell)
    memory.snapshot()
    first = shell.run("first-look")
    assert "[+] memory faces: serving" in first and '"alarms": []' in first and "CreateSnapshot" in first
    assert 'evoke_memory_loaded_ratio{memory="faces"} 1' in shell.run("loading")
    assert re.search(r"^commit +[0-9.]+ ms a turn", shell.run("where-time-goes"), re.MULTILINE)
    fills = shell.run("what-fills")
    assert "store" in fills and 'evoke_snapshot_bytes{memory="faces"}' in fills and "evoke_disk_free_bytes " in fills
    assert 'evoke_slots_live{memory="faces"} %d' % (2 * ROWS) in shell.run("memory-look")
    assert "evoke_ram_planned_bytes " in shell.run("ram-look")
    assert "no memory does without its GPU" in shell.run("gpu-look")


def test_a_backup_outlives_snapshot_and_memory_and_becomes_a_memory_elsewhere(machine):
    shell = started(machine())
    memory = faces(shell)
    assert str(evoke.SnapshotToken.parse(re.search(r"evoke1:\S+", shell.run("snapshot"))[0])).endswith(state(memory)[1])
    shell.run("copy")
    shell.run("verify-offline")
    train(memory, [2])
    shell.run("snapshot")
    latest = state(memory)
    evoke.Client(shell.address).create_memory("ephemeral", key_dim=2, capacity=2, durability="memory")
    shell.run("copy-all")
    shell.run("copy-all")  # what is there is no error
    assert [s.token.step for s in memory.snapshots(backup_folder="faces")] == [2 * ROWS, 3 * ROWS]
    shell.run("delete-snapshot")
    assert [s.token.step for s in memory.snapshots()] == [3 * ROWS]
    memory.delete()

    other = started(machine("other"))
    assert latest[1] in other.run("restore-elsewhere")
    copy = evoke.Client(other.address).memory("faces")
    assert state(copy) == latest and copy.uid != memory.uid
    assert copy.query(KEYS[:60], payloads=True).values.tolist() == list(range(60))
    with pytest.raises(evoke.TokenMismatch):
        copy.restore(evoke.SnapshotToken(memory.uid, 1, 3, latest[0], latest[1]), backup_folder="faces")


def test_an_export_becomes_the_same_memory_under_another_name(machine):
    shell = started(machine())
    memory = faces(shell)
    assert state(memory)[1] in shell.run("export")
    copy = evoke.Client(shell.address).memory("faces-copy")
    assert state(copy) == state(memory)
    found = [m.query(KEYS[17], k=1, payloads=True).neighbors for m in (memory, copy)]
    assert [[p.data for p in n.payloads[n.slots[0, 0]]] for n in found] == [[payload(17)]] * 2
    with np.load(shell.backup / "faces.npz") as columns:
        assert len(columns.files) > 3


def test_old_backups_go_and_new_ones_stay(machine):
    shell = started(machine())
    memory = faces(shell, batches=[])
    for i in range(16):
        memory.update(KEYS[i], i)
        memory.copy_snapshot(memory.snapshot(), "faces")
    shell.run("copy-all")
    assert [s.token.step for s in memory.snapshots(backup_folder="faces")] == list(range(3, 17))


def test_snapshots_come_by_the_clock_and_as_many_stay_as_are_wanted(machine):
    shell = started(machine(EVOKE_SNAPSHOT_EVERY="100ms", EVOKE_SNAPSHOT_KEEP="2"))
    memory = faces(shell, batches=[])
    by_hand = memory.snapshot()
    for i in range(4):
        memory.update(KEYS[i], i)
        assert eventually(lambda: any(s.scheduled and s.token.step == i + 1 for s in memory.snapshots()))
    assert eventually(lambda: [s.scheduled for s in memory.snapshots()].count(True) == 2)
    kept = memory.snapshots()
    assert by_hand in kept and kept[-1].token.step == 4


def test_restore_in_place_takes_the_latest_snapshot_and_trainers_go_on(machine):
    shell = started(machine())
    memory = faces(shell)
    saved = state(memory)
    shell.run("snapshot")
    train(memory, [2, 3])
    assert saved[1] in shell.run("restore")
    assert state(memory) == saved
    train(memory, [4])
    assert state(memory)[0] == 3 * ROWS


def test_rewind_by_token_and_what_trainers_see_of_it(machine):
    shell = started(machine())
    memory = faces(shell)
    checkpoint = memory.snapshot().token
    train(memory, [2, 3])
    ahead, later = memory.snapshot(), memory.state_hash().header
    pinned = evoke.Client(shell.address).memory("faces", epoch=later.epoch)
    shell.sh("TOKEN=%s" % checkpoint)
    shell.run("rewind")
    now = memory.state_hash()
    assert (now.header.step, now.state_hash) == (checkpoint.step, checkpoint.state_hash)
    assert (now.header.epoch, now.header.turn) == (later.epoch + 1, later.turn + 1)
    with pytest.raises(evoke.StaleMemory):
        pinned.query(KEYS[0])
    with pytest.raises(evoke.StaleMemory):
        pinned.update(KEYS[0], 0)
    train(memory, [2, 3])  # the same as before, from the same state
    assert state(memory) == (ahead.token.step, ahead.token.state_hash)
    memory.restore(ahead)
    assert memory.describe().epoch == later.epoch + 2


def fill_up(shell, old):
    """Leaves less than the reserve of 16 MiB; the deletion of `old` will give more than that back."""
    old.update(np.random.default_rng(2).normal(size=(2000, 16)), range(2000), payloads=[bytes(4096)] * 2000)
    free = os.statvfs(shell.data).f_bavail * os.statvfs(shell.data).f_frsize
    with open(shell.data / "tmp" / "ballast", "wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, free - (12 << 20))


def test_a_full_disk_refuses_writes_until_something_was_deleted(machine, place):
    folder = place / "one" / "data"
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "evoke-test", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        shell = started(machine(OLD="old", EVOKE_DISK_RESERVE_BYTES="16MiB"))
        memory = faces(shell)
        fill_up(shell, evoke.Client(shell.address).create_memory("old", key_dim=16, capacity=2000))
        disk = 'evoke_alarm_active{alarm="disk",memory="faces"}'
        assert eventually(lambda: shell.metric(disk) == 1)
        with pytest.raises(evoke.ReadOnlyDisk):
            train(memory, [2])
        assert memory.query(KEYS[:3]).values.tolist() == [0, 1, 2]
        assert disk + " 1" in shell.run("disk-look")
        assert {(a.name, a.memory) for a in memory.client.status().alarms} == {("disk", "faces"), ("disk", "old")}
        shell.run("disk-free")
        assert shell.metric(disk) == 0
        train(memory, [2])
        assert state(memory)[0] == 3 * ROWS
        shell.stop()
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_reserve_that_is_not_there_refuses_writes_until_less_is_asked_for(machine):
    shell = machine()
    shell.run("configure")
    shell.start()
    memory = faces(shell)
    shell.stop()
    shell.sh("export EVOKE_DISK_RESERVE_BYTES=1000000GiB")
    shell.start()
    with pytest.raises(evoke.ReadOnlyDisk):
        train(memory, [2])
    shell.run("disk-look")
    shell.stop()
    shell.start("disk-reserve")
    train(memory, [2])
    assert state(memory)[0] == 3 * ROWS and memory.client.status().alarms == ()


def test_a_damaged_memory_is_named_and_restored_from_its_backup_while_others_serve(machine):
    shell = started(machine())
    memory, other = faces(shell), faces(shell, "other")
    shell.stop()
    shell.start()  # the log is in a table file now, which the snapshot shares
    shell.run("snapshot")
    shell.run("copy")
    saved = state(memory)
    shell.stop()
    flip_bit(table_file(shell, memory.uid), 100)
    shell.run("inspect")
    shell.start()
    with pytest.raises(evoke.DataLoss) as caught:
        memory.query(KEYS[0])
    assert caught.value.reason == "CORRUPT_MEMORY" and ".sst" in str(caught.value)
    train(other, [2])
    assert memory.uid.hex() in shell.run("corrupt-look")
    shell.run("corrupt-restore")
    assert shell.metric('evoke_alarm_active{alarm="corrupt",memory="faces"}') == 0
    assert state(memory) == saved
    train(memory, [2])
    assert (shell.backup / ("damaged-" + memory.uid.hex()) / "store").is_dir()


def test_a_damaged_backup_is_found_restores_nothing_and_is_replaced(machine):
    shell = started(machine())
    memory = faces(shell)
    shell.run("snapshot")
    shell.run("copy")
    train(memory, [2])
    before = state(memory)
    saved = memory.snapshots()[0]
    biggest = max((shell.backup / "faces" / saved.id / "store").iterdir(), key=lambda p: p.stat().st_size)
    flip_bit(biggest, biggest.stat().st_size // 2)
    assert "CORRUPT_SNAPSHOT" in shell.run("corrupt-backup")
    with pytest.raises(evoke.DataLoss):
        memory.restore(saved, backup_folder="faces")
    assert state(memory) == before
    shell.run("replace-backup")
    assert memory.restore(saved, backup_folder="faces").changed


def test_a_damaged_payload_fails_the_calls_that_want_it_and_a_backup_mends_it(machine):
    shell = started(machine())
    memory = faces(shell)
    shell.run("snapshot")
    shell.run("copy")
    saved = state(memory)
    shell.stop()
    shell.start()
    shell.stop()
    table = table_file(shell, memory.uid)
    flip_bit(table, table.read_bytes().index(payload(17)))
    shell.start()
    assert memory.query(KEYS[16:19]).values.tolist() == [16, 17, 18]
    assert memory.query(KEYS[39], k=1, payloads=True).values.tolist() == [39]
    with pytest.raises(evoke.DataLoss) as caught:
        memory.query(KEYS[17], k=1, payloads=True)
    assert caught.value.reason == "CORRUPT_ROW" and memory.client.status().alarms == ()
    train(memory, [2])
    shell.run("corrupt-restore")
    assert state(memory) == saved
    answer = memory.query(KEYS[17], k=1, payloads=True).neighbors
    assert answer.payloads[answer.slots[0, 0]][0].data == payload(17)


def test_an_upgrade_is_checked_before_it_starts_and_can_be_gone_back_from(machine):
    shell = started(machine())
    memory, other = faces(shell), faces(shell, "other", batches=range(3))
    shell.run("upgrade-backup")
    before = state(memory), state(other)
    shell.stop()
    shell.run("upgrade-check")
    assert (shell.backup / "before").read_text().count(before[0][1]) == 1
    shell.start("upgrade-start")
    assert (state(memory), state(other)) == before
    train(memory, [2])
    shell.stop()

    (shell.data / "FORMAT").write_text("evoke-data 2\n")  # what a newer version would have made of it
    shell.sh('evoked --config "$CONFIG" >>"$LOG" 2>&1 && exit 1 || [ $? -eq 3 ]')
    assert (shell.data / "FORMAT").read_text() == "evoke-data 2\n"
    shell.start("downgrade")
    again = evoke.Client(shell.address)
    assert (state(again.memory("faces")), state(again.memory("other"))) == before


def test_a_token_that_was_made_as_written_opens_the_door(machine):
    shell = machine()
    shell.run("configure")
    shell.start("token")
    with pytest.raises(evoke.Unauthenticated):
        evoke.Client(shell.address).status()
    alice = evoke.Client(shell.address, token_file=str(shell.folder / "alice.token"))
    memory = alice.create_memory("faces", key_dim=16, capacity=500)
    train(memory, [0])
    assert state(memory)[0] == ROWS
