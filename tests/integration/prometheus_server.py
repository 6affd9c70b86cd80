"""A real Prometheus of one's own that scrapes one server, and the text format it reads."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from typing import Dict, List, NamedTuple

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
SAMPLE = re.compile(r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    name: str
    labels: Dict[str, str]
    value: float


class Family(NamedTuple):
    type: str
    help: str
    samples: List[Sample]


def parse_exposition(text: str) -> Dict[str, Family]:
    """Families of Prometheus's text format 0.0.4, by name."""
    families, types, helps = {}, {}, {}
    current = ""
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, current, rest = line.split(" ", 3)
            (types if what == "TYPE" else helps)[current] = rest
            families[current] = Family(types.get(current, ""), helps.get(current, ""),
                                       families[current].samples if current in families else [])
        elif line:
            match = SAMPLE.match(line)
            assert match and match["name"].startswith(current), line
            families[current].samples.append(
                Sample(match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"])))
    return families


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    """Scrapes `target` (host:port) every second as the job evoke, with the rules of deploy/prometheus.

    Thread-compatible. Failure: AssertionError with its last words.
    """

    def __init__(self, folder: pathlib.Path, target: str):
        shutil.copytree(DEPLOY / "prometheus" / "rules", folder / "rules")
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules/*.yml]\n"
            "scrape_configs: [{job_name: evoke, static_configs: [{targets: ['%s']}]}]\n" % target)
        self.url = "http://127.0.0.1:%d" % free_port()
        self._log = folder / "log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["prometheus", "--config.file=%s" % (folder / "prometheus.yml"), "--log.level=warn",
                 "--storage.tsdb.path=%s" % (folder / "data"), "--web.listen-address=%s" % self.url[len("http://"):]],
                stdout=log, stderr=log)

    def __enter__(self) -> "Prometheus":
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()

    def get(self, path: str, **parameters: str):
        """`data` of an answer of its API."""
        url = "%s/api/v1/%s?%s" % (self.url, path, urllib.parse.urlencode(parameters))
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> List[float]:
        """The values of an instant query, now. Raises ValueError for one that it does not understand."""
        try:
            return [float(series["value"][1]) for series in self.get("query", query=expression)["result"]]
        except urllib.error.HTTPError as error:
            raise ValueError("%s: %s" % (expression, error.read().decode(errors="replace"))) from None

    def scrapes(self) -> float:
        """How often it has scraped its target."""
        assert self._process.poll() is None, self._log.read_text()
        try:
            seen = self.get("query", query='sum(count_over_time(up{job="evoke"}[5m]))')["result"]
        except (urllib.error.URLError, ConnectionError):
            return 0  # it does not listen yet, or is not ready
        return float(seen[0]["value"][1]) if seen else 0
