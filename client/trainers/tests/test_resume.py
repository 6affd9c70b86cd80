"""A trainer that is killed and resumed ends bit for bit where one ends that was left alone."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

import evoke
from trainers.omniglot import checkpoint, data, train

pytestmark = pytest.mark.skipif(not os.environ.get("EVOKE_EVOKED"), reason="EVOKE_EVOKED does not name the built evoked")

ITERATIONS = 6

# Trains up to an iteration, saves, and goes on for some more iterations that nobody saves, before it ends or is killed.
PROGRAM = textwrap.dedent("""
    import os, signal, sys
    sys.path[:0] = {path!r}
    import torch
    import evoke
    from trainers.omniglot import data, train

    torch.set_num_threads(1)
    make = data.make_glyphs
    data.make_glyphs = lambda classes, drawings, seed: make(16, 8, seed)
    r = train.Run(train.parse({argv!r}), evoke.Client({address!r}))
    if {resume}:
        r.load()
    found = r.memory.memory.state_hash()
    losses = []
    while r.iteration < {until}:
        losses.append(r.step()["loss"])
    left = r.memory.memory.state_hash()
    r.save()
    torch.save(dict(losses=losses, found=(found.header.step, found.state_hash), left=(left.header.step, left.state_hash)),
               {result!r})
    for _ in range({unsaved}):
        r.step()
    if {die}:
        os.kill(os.getpid(), signal.SIGKILL)
""")


def run(server, out, *, until, resume=False, unsaved=0, die=False) -> dict:
    """Runs the program in a process of its own; what it left in its result file, with the checkpoint."""
    out.mkdir(exist_ok=True)
    argv = ["--out", str(out), "--episodes", "2", "--width", "0.05", "--key-dim", "16", "--capacity", "64", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=[p for p in sys.path if p], argv=argv, address=server.address,
                                              until=until, resume=resume, unsaved=unsaved, die=die,
                                              result=str(out / "result.pt"))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == (-signal.SIGKILL if die else 0), done.stdout
    return {**torch.load(out / "result.pt"), "checkpoint": checkpoint.read(out)}


def bits(content):
    """A checkpoint with its tensors as bytes, so that == means equal bits; without the token, which names a uid."""
    if isinstance(content, dict):
        return {key: bits(value) for key, value in content.items() if key != "memory"}
    if isinstance(content, (list, tuple)):
        return [bits(value) for value in content]
    return content.numpy().tobytes() if isinstance(content, torch.Tensor) else content


@pytest.fixture(autouse=True)
def few_glyphs(monkeypatch):
    make = data.make_glyphs
    monkeypatch.setattr(data, "make_glyphs", lambda classes, drawings, seed: make(16, 8, seed))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    with evoke.local() as server:
        return run(server, tmp_path_factory.mktemp("straight"), until=ITERATIONS)


@pytest.mark.parametrize("unsaved", [0, 2])
def test_killed_and_resumed_is_bitwise_the_same_as_left_alone(straight, tmp_path, unsaved):
    with evoke.local(str(tmp_path / "data")) as server:
        first = run(server, tmp_path / "out", until=ITERATIONS // 2, unsaved=unsaved, die=True)
        server.kill()
        server.start()
        memory = server.client.memory("omniglot-train-16")
        assert (memory.describe().step > first["left"][0]) == bool(unsaved)
        second = run(server, tmp_path / "out", until=ITERATIONS, resume=True)
        assert second["found"] == first["left"]
        assert first["losses"] + second["losses"] == straight["losses"]
        assert second["left"] == straight["left"]
        assert bits(second["checkpoint"]) == bits(straight["checkpoint"])
        assert len(memory.snapshots()) == 1


def test_a_checkpoint_of_another_memory_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    options = train.parse(["--out", str(out), "--episodes", "2", "--width", "0.05", "--key-dim", "16"])
    with evoke.local() as server:
        train.Run(options, server.client).save()
    with evoke.local() as server:
        with pytest.raises(evoke.EvokeError) as caught:
            train.Run(options, server.client).load()
        assert caught.value.reason in ("TOKEN_MISMATCH", "SNAPSHOT_NOT_FOUND")


def test_snapshots_of_older_checkpoints_go_and_those_of_others_stay(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with evoke.local() as server:
        r = train.Run(train.parse(["--out", str(out), "--episodes", "2", "--width", "0.05", "--key-dim", "16"]),
                      server.client)
        ours_not = r.memory.memory.snapshot().id
        for _ in range(3):
            r.step()
            r.save()
        token = evoke.SnapshotToken.parse(checkpoint.read(out)["memory"])
        kept = r.memory.memory.snapshots()
        assert [s.id for s in kept if s.token != token] == [ours_not] and len(kept) == 2
