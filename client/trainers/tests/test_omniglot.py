"""The Omniglot trainer on glyphs made here, through the built evoked, beside twins that are broken on purpose."""

import argparse
import json
import os

import numpy as np
import pytest

import evoke
from trainers.omniglot import data, episodes, evaluate, explain, train
from trainers.twin import TwinMemory

pytestmark = pytest.mark.skipif(not os.environ.get("EVOKE_EVOKED"), reason="EVOKE_EVOKED does not name the built evoked")

WAYS, SHOWS = 5, 6


def options(out, **changes) -> argparse.Namespace:
    o = train.parse(["--out", str(out), "--minutes", "5", "--iterations", "30", "--episodes", "4", "--width", "0.07",
                     "--key-dim", "32", "--eval-episodes", "25", "--learning-rate", "2e-3", "--seed", "1"])
    for name, value in changes.items():
        setattr(o, name, value)
    return o


@pytest.fixture(scope="module")
def server():
    with evoke.local() as s:
        yield s


@pytest.fixture(scope="module")
def trained(server, tmp_path_factory):
    """A run of the whole trainer: (Run-like embed function, results, folder)."""
    out = tmp_path_factory.mktemp("run")
    results = train.run(options(out), server.client)
    r = train.Run(options(out), server.client)
    r.load()
    return r, results, out


def life(memory, run, lives: int = 25) -> dict:
    """Episodes of other characters, one after another in one small memory that is never cleared: accuracy by times seen,
    and all predictions. Old characters have to make room for new ones."""
    rng = np.random.default_rng(7)
    images = run.split.test
    right = np.zeros((SHOWS, 2))
    predictions = []
    for number in range(lives):
        e = episodes.online(rng, images.shape[0], images.shape[1], WAYS, SHOWS, 1)
        embeddings = run.embed(images[e.classes[:, 0], e.drawings[:, 0]])
        for i in range(len(embeddings)):
            label = number * WAYS + e.labels[i, 0]
            result = memory.train_step(embeddings[i:i + 1], [label])
            predictions.append(int(result.values[0]))
            right[e.seen[i, 0]] += result.answered[0] and result.values[0] == label, 1
    return {"accuracy": right[:, 0] / right[:, 1], "predictions": predictions}


def test_training_improves_on_untrained_network(trained):
    _, results, out = trained
    assert results["iterations"] == 30
    before, after = (results[w]["online"]["shots"]["1"]["accuracy"] for w in ("before", "after"))
    assert results["curve"][-1]["loss"] < 0.3
    assert after > 0.75 and after >= before - 0.05
    assert json.loads((out / "result.json").read_text())["after"] == results["after"]
    for picture in ("curve.png", "answers.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"


def test_service_predicts_what_the_twin_predicts(trained, server):
    run, _, _ = trained
    memory = server.client.create_memory("life-parity", key_dim=32, capacity=14, age_noise=0, durability="memory")
    assert life(memory, run)["predictions"] == life(TwinMemory(32, 14), run)["predictions"]


def test_a_broken_memory_does_not_reach_what_the_service_reaches(trained, server):
    run, _, _ = trained
    memory = server.client.create_memory("life", key_dim=32, capacity=14, age_noise=0, durability="memory")
    served = life(memory, run)["accuracy"]
    newest = life(TwinMemory(32, 14, evict="newest"), run)["accuracy"]
    assert served[1:].mean() > 0.7 > newest[1:].mean()
    assert served[-1] > 0.8
    frozen = life(TwinMemory(32, 14, average=False), run)["accuracy"]
    assert served[2:].mean() > frozen[2:].mean() + 0.01


def test_checkpoint_resumes_where_it_was(server, tmp_path):
    whole = train.Run(options(tmp_path / "a"), server.client)
    (tmp_path / "a").mkdir()
    losses = [whole.step()["loss"] for _ in range(2)]
    whole.save()
    losses += [whole.step()["loss"] for _ in range(2)]
    again = train.Run(options(tmp_path / "a"), server.client)
    again.load()
    assert again.iteration == 2
    assert [again.step()["loss"] for _ in range(2)] == losses[2:]


def test_explanation_names_the_drawings_and_their_weights(trained, server):
    run, _, _ = trained
    memory = server.client.create_memory("explained", key_dim=32, capacity=16, payload_history=3, durability="memory")
    x = np.eye(32, dtype=np.float32)[0]
    for d in range(4):
        memory.update(x[None], [7], payloads=[explain.payload(11, d)])
    e = explain.explain(memory, x, (11, 9), 7)
    assert (e.answer, e.hits) == (7, 3)
    assert [(s.drawing_class, s.drawing, s.weight) for s in e.sources] == [(11, 0, 0.125), (11, 2, 0.25), (11, 3, 0.5)]
    assert "weight 0.25" in explain.as_text(e, run.split.test)


def test_every_class_is_shown_once_before_any_is_shown_twice():
    e = episodes.online(np.random.default_rng(0), 50, 20, WAYS, SHOWS, 8)
    assert sorted(e.labels[:WAYS, 3].tolist()) == list(range(WAYS))
    assert (e.seen[:WAYS] == 0).all() and (e.seen[WAYS:] > 0).all()
    assert len({(c, d) for c, d in zip(e.classes[:, 0], e.drawings[:, 0])}) == WAYS * SHOWS


def test_glyphs_are_the_same_for_the_same_seed():
    assert (data.make_glyphs(3, 2, 5) == data.make_glyphs(3, 2, 5)).all()
    assert evaluate.proportion(3, 4)["accuracy"] == 0.75


def test_the_trainer_shows_the_token_and_believes_the_roots_that_the_environment_names(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("secret")
    monkeypatch.setenv("EVOKE_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ValueError, match="unencrypted"):
        train.patient_client("evoked:7380", train.parse([]))
    monkeypatch.setenv("EVOKE_TLS_CA", str(tmp_path / "none.pem"))
    with pytest.raises(evoke.InvalidArgument, match="none.pem"):
        train.patient_client("evoked:7380", train.parse([])).status()
