"""The benchmark of the Python client runs, at smoke size, and says what it is read for."""

import json
import os
import subprocess
import sys

import pytest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench", "python_client.py")


def test_benchmark_of_the_python_client_runs_and_compares_with_bare_grpc(tmp_path):
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    path = tmp_path / "result.json"
    subprocess.run([sys.executable, BENCH, "--smoke", "--json", str(path)], check=True, stdout=subprocess.DEVNULL)
    result = json.loads(path.read_text())
    rows = {(r["what"], r.get("in_flight")): r for r in result["results"]}
    assert rows["query bare", None]["ratio"] == 1.0
    for what in ("query typed", "query evoke", "train_step bare", "train_step evoke"):
        assert rows[what, None]["median_us"] > 0 and rows[what, None]["ratio"] > 0
    for what in ("aio query", "aio train_step"):
        assert rows[what, 16]["calls_per_s"] > 0 and rows[what, 1]["ratio"] == 1.0
