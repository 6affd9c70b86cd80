"""One-shot recognition of characters, learned through a served memory (Kaiser et al., ICLR 2017, section 4.1).

    python -m trainers.omniglot.train --data DIR --minutes 4
    python -m trainers.omniglot.train                          # glyphs made here, its own evoked

The network lives here, the memory in evoked; every read and write goes over gRPC. Episodes train 16 at a time against one
memory, their labels kept apart by an offset, and the memory is cleared before each such batch. Prints accuracy before and
after, writes result.json, curve.png, answers.png and checkpoint.pt to --out, and ends with one line of result. A
checkpoint names the state of the memory that belongs to it, and --resume goes on from both, bit for bit.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import time
from typing import Dict, List

import numpy as np
import torch
import tqdm

import evoke
import evoke.torch

from . import checkpoint, data, episodes, evaluate, explain, plots
from .network import ConvNet

PAPER_WIDTH, PAPER_ITERATIONS = 1.0, 100_000


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainers.omniglot.train", description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of omniglot-28.npz; without it glyphs are made")
    parser.add_argument("--address", help="of a running evoked (host:port or unix:PATH); without it one is started")
    parser.add_argument("--tls-ca", default=os.environ.get("EVOKE_TLS_CA"),
                        help="PEM of the roots that its certificate leads to: speak TLS (or $EVOKE_TLS_CA)")
    parser.add_argument("--token-file", default=os.environ.get("EVOKE_TOKEN_FILE"),
                        help="file that holds the token (or $EVOKE_TOKEN_FILE)")
    parser.add_argument("--out", default="omniglot-run", help="folder for results and checkpoint")
    parser.add_argument("--minutes", type=float, default=4, help="training time; evaluation comes on top")
    parser.add_argument("--iterations", type=int, default=PAPER_ITERATIONS, help="at most so many episode batches")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shows", type=int, default=6, help="drawings of a class in an episode")
    parser.add_argument("--episodes", type=int, default=16, help="side by side in one memory")
    parser.add_argument("--eval-episodes", type=int, default=200)
    parser.add_argument("--width", type=float, default=0.25, help="1 is the paper's network")
    parser.add_argument("--key-dim", type=int, default=128)
    parser.add_argument("--capacity", type=int, default=8192, help="slots of the training memory")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam; the paper's is 1e-4")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its default")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--patience", type=float, default=120, help="seconds that a call may take, retries included")
    return parser.parse_args(argv)


class Run:
    """One training: network, optimiser, memories, and how far it is."""

    def __init__(self, options: argparse.Namespace, client: evoke.Client):
        self.options, self.client = options, client
        self.split = data.load(options.data, options.seed)
        self.rng = np.random.default_rng([options.seed, 3])
        torch.manual_seed(options.seed)
        self.net = ConvNet(options.key_dim, options.width, options.dropout)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=options.learning_rate, eps=1e-4)
        self.memory = evoke.torch.Memory(self.make_memory("omniglot-train", options.capacity, "wal"))
        self.iteration, self.curve = 0, []  # type: int, List[Dict]
        self.window: List[Dict] = []  # steps since the last point of the curve

    def make_memory(self, name: str, capacity: int, durability: str, key_dim: int = 0) -> evoke.Memory:
        """An existing one with an equal spec is taken as it is: a run can meet the memory of the run before."""
        key_dim = key_dim or self.options.key_dim
        return self.client.create_memory("%s-%d" % (name, key_dim), key_dim=key_dim, capacity=capacity,
                                         seed=self.options.seed, durability=durability, if_not_exists=True)

    def step(self) -> Dict:
        """One batch of episodes; returns its loss per row and its one-shot accuracy."""
        o = self.options
        train = self.split.train
        e = episodes.online(self.rng, train.shape[0], train.shape[1], o.ways, o.shows, o.episodes)
        images = torch.from_numpy(train[e.classes, e.drawings].reshape(-1, data.SIDE, data.SIDE)).float() / 255
        self.net.train()
        embeddings = self.net(images).reshape(len(e.labels), o.episodes, -1)
        labels = torch.from_numpy(e.labels + o.ways * np.arange(o.episodes))
        self.memory.memory.clear()
        self.memory.train()
        answers = [self.memory(embeddings[t], labels[t]) for t in range(len(labels))]
        loss = torch.stack([a.loss for a in answers]).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5)
        self.optimiser.step()
        right = torch.stack([a.values == l for a, l in zip(answers, labels)]).numpy()
        self.iteration += 1
        return {"iteration": self.iteration, "loss": float(loss), "one_shot": float(right[e.seen == 1].mean())}

    def train(self) -> None:
        """Until --minutes or --iterations are over. Checkpoints every half minute."""
        o = self.options
        began = saved = time.monotonic()
        with tqdm.tqdm(total=round(o.minutes * 60), unit="s", desc="train", file=sys.stderr,
                       mininterval=0.5 if sys.stderr.isatty() else 15, ascii=not sys.stderr.isatty(),
                       bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f}s {postfix}") as bar:
            while self.iteration < o.iterations and time.monotonic() - began < o.minutes * 60:
                self.window.append(self.step())
                if len(self.window) == 20:
                    self.curve.append({"iteration": self.iteration,
                                       "loss": float(np.mean([w["loss"] for w in self.window])),
                                       "one_shot": float(np.mean([w["one_shot"] for w in self.window]))})
                    self.window.clear()
                    bar.set_postfix_str("iteration %d, loss %.4f, one-shot %.1f%%" % (
                        self.iteration, self.curve[-1]["loss"], 100 * self.curve[-1]["one_shot"]), refresh=False)
                bar.update(min(time.monotonic() - began, bar.total) - bar.n)
                if time.monotonic() - saved > 30:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def embed(self, images: np.ndarray) -> np.ndarray:
        """uint8 [rows, 28, 28] -> float32 [rows, key_dim], without dropout."""
        self.net.eval()
        with torch.no_grad():
            return self.net(torch.from_numpy(np.ascontiguousarray(images)).float() / 255).numpy()

    def evaluate(self, embed=None, key_dim: int = 0) -> Dict:
        """Both protocols on the test characters; the same episodes at every call."""
        o, images = self.options, self.split.test
        memory = self.make_memory("omniglot-test", 256, "memory", key_dim)
        embed = embed or self.embed
        rng = np.random.default_rng([o.seed, 4])
        return {"online": evaluate.online(memory, embed, images, rng, ways=o.ways, shows=o.shows, count=o.eval_episodes),
                "support_query": [evaluate.support_query(memory, embed, images, rng, ways=o.ways, shots=shots,
                                                         count=o.eval_episodes) for shots in (1, 5)]}

    def save(self) -> None:
        """Replaces the checkpoint as a whole, and the snapshot of the memory that it names.

        The order keeps every moment safe: snapshot, checkpoint, and only then the snapshots of older checkpoints go.
        """
        out, memory = pathlib.Path(self.options.out), self.memory.memory
        snapshot = memory.snapshot()
        checkpoint.remember(out, snapshot.id)
        checkpoint.write(out, {
            "net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "iteration": self.iteration,
            "curve": self.curve, "window": self.window, "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(), "memory": str(snapshot.token)})
        checkpoint.forget_older(out, memory, snapshot.id)

    def load(self) -> None:
        """Back to the checkpoint, the memory too: it is rewound when it went on, and refused when it is another one."""
        saved = checkpoint.read(pathlib.Path(self.options.out))
        self.memory.memory.restore(saved["memory"])
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.iteration, self.curve, self.window = saved["iteration"], saved["curve"], saved["window"]
        self.rng.bit_generator.state = saved["rng"]
        torch.set_rng_state(saved["torch_rng"])


def describe(name: str, result: Dict) -> str:
    shots = ["%s-shot %.1f%% +-%.1f" % (k, 100 * s["accuracy"], 100 * s["interval"])
             for k, s in result["online"]["shots"].items()]
    clean = ["%d-shot %.1f%%" % (s["shots"], 100 * s["accuracy"]) for s in result["support_query"]]
    return "%-28s %d-way online: %s; support/query: %s" % (name, result["online"]["ways"], ", ".join(shots), ", ".join(clean))


def run(options: argparse.Namespace, client: evoke.Client) -> Dict:
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    r = Run(options, client)
    scale = "the paper's network" if options.width == PAPER_WIDTH else "small scale: %g of the paper's channels" % options.width
    print("%s; %s, %d-dimensional keys" % (r.split.source, scale, options.key_dim), flush=True)
    results = {"ways": options.ways, "source": r.split.source, "options": vars(options)}
    results["pixels"] = r.evaluate(data.pixels, data.SIDE ** 2)
    print(describe("pixel nearest neighbor", results["pixels"]), flush=True)
    if options.resume:
        r.load()
    results["before"] = r.evaluate()
    print(describe("network before (iteration %d)" % r.iteration, results["before"]), flush=True)
    r.train()
    results["after"] = r.evaluate()
    results.update(iterations=r.iteration, curve=r.curve)
    print(describe("network after %d iterations" % r.iteration, results["after"]), flush=True)

    life = r.make_memory("omniglot-life", 256, "fsync")
    explanations = explain.one_shot_answers(life, r.embed, r.split.test, np.random.default_rng([options.seed, 5]),
                                            ways=options.ways, count=options.ways)
    print("\na drawing of a character that the memory saw once:\n")
    print(explain.as_text(explanations[0], r.split.test))
    print("\nand one that it saw four times:\n")
    print(explain.as_text(explanations[1], r.split.test), flush=True)
    plots.learning_curve(str(out / "curve.png"), r.curve, results)
    plots.answers(str(out / "answers.png"), explanations, r.split.test)
    (out / "result.json").write_text(json.dumps(results, indent=1))
    before, after = (results[w]["online"]["shots"]["1"]["accuracy"] for w in ("before", "after"))
    print("\ntrainer: %d-way 1-shot %.1f%% -> %.1f%% (pixels %.1f%%); results in %s" % (
        options.ways, 100 * before, 100 * after, 100 * results["pixels"]["online"]["shots"]["1"]["accuracy"], out))
    return results


def patient_client(address: str, options: argparse.Namespace) -> evoke.Client:
    """Long calls too: a snapshot of a training memory takes a second, and a server that is gone should be told of."""
    tls = evoke.Tls(root_certificates=options.tls_ca) if options.tls_ca else None
    return evoke.Client(address, tls=tls, token_file=options.token_file or None, deadline=options.patience,
                        long_deadline=options.patience)


def main(argv=None) -> int:
    options = parse(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.address:
        run(options, patient_client(options.address, options))
    else:
        data_dir = pathlib.Path(options.out) / "server"  # a checkpoint is worth nothing without its memory
        if data_dir.exists() and not options.resume:
            shutil.rmtree(data_dir)
        with evoke.local(str(data_dir)) as server:
            run(options, patient_client(server.address, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
