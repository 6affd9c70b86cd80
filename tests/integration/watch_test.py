"""What is watched is what there is: metrics, dashboards, rules, alerts and their runbook, against each other and a server.

Needs $EVOKE_EVOKED; what asks a real Prometheus also prometheus, promtool and amtool on the PATH.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import numpy as np
import pytest

import evoke
from prometheus_server import DEPLOY, Prometheus, parse_exposition

PROMETHEUS, GRAFANA = DEPLOY / "prometheus", DEPLOY / "grafana"
TABLE = DEPLOY.parent / "server" / "metrics" / "README.md"
NAME = re.compile(r"\b(?:evoke|process)_[a-z0-9_]+")  # not the recorded ones, which begin with level:


def metric_table():
    """Name -> (type, labels, unit, meaning), of server/metrics/README.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (\w+) \| (.*) \|$", TABLE.read_text(), re.MULTILINE)
    return {name: (kind, set(labels.split(", ")) - {"-"}, unit, meaning) for name, kind, labels, unit, meaning in rows}


def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panel_queries():
    """(dashboard / panel, query) of every target."""
    return [("%s / %s" % (name, panel["title"]), target["expr"]) for name, dashboard in dashboards().items()
            for panel in dashboard["panels"] for target in panel.get("targets", ())]


def rules_text(name):
    return (PROMETHEUS / "rules" / name).read_text()


def tool(name):
    if not shutil.which(name):
        pytest.skip("needs %s (Debian: prometheus, prometheus-alertmanager)" % name)
    return name


# --- files against each other --------------------------------------------------------------------------------------


def test_dashboards_are_what_their_script_makes():
    subprocess.run([sys.executable, "-B", GRAFANA / "make_dashboards.py", "--check"], check=True)


def test_every_query_is_about_metrics_that_there_are_and_every_metric_is_on_a_dashboard():
    table, used = metric_table(), set()
    assert len(table) > 50
    series = {name + end: name for name, row in table.items()
              for end in (("_bucket", "_sum", "_count") if row[0] == "histogram" else ("",))}
    recorded = set(re.findall(r"record: (\S+)", rules_text("recording.yml")))
    texts = panel_queries() + [("rules", rules_text("recording.yml")), ("rules", rules_text("alerts.yml"))]
    for where, query in texts:
        for name in re.findall(r"\b[a-z_]+:evoke_[a-z0-9_]+:[a-z0-9_]+", query):
            assert name in recorded, "%s: %s is not recorded" % (where, name)
        plain = re.sub(r"\S+:evoke_\S+:\S+|name: \S+|#.*", "", query)
        for name in NAME.findall(plain):
            assert name in series, "%s: there is no %s" % (where, name)
            if where != "rules":
                used.add(series[name])
    used |= {name for d in dashboards().values() for a in d["annotations"]["list"] for name in NAME.findall(a["expr"])}
    assert set(table) - used == set(), "on no dashboard"


def test_every_panel_says_what_it_means_and_has_a_unit():
    for name, dashboard in dashboards().items():
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len(titles) == len(set(titles)), name
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                assert len(panel["description"]) > 10 and panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_every_alert_has_an_entry_in_the_runbook_and_cases_that_fire_and_that_do_not():
    rules, runbook = rules_text("alerts.yml"), (DEPLOY / "ALERTS.md").read_text()
    cases = "".join(path.read_text() for path in (PROMETHEUS / "tests").glob("*.yml"))
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) == len(set(alerts)) > 10
    assert re.findall(r"runbook_url: (\S+)", rules) == ["deploy/ALERTS.md#" + a.lower() for a in alerts]
    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == alerts, "one entry each, in their order"
    for alert in alerts:
        assert re.search(r"alertname: %s\n +eval_time: \w+\n +exp_alerts:" % alert, cases), alert + " never fires"
        assert re.search(r"alertname: %s, eval_time: \w+}" % alert, cases), alert + " always fires"


def test_rules_say_what_their_cases_expect():
    tool("promtool")
    cases = sorted((PROMETHEUS / "tests").glob("*.yml"))
    done = subprocess.run(["promtool", "test", "rules"] + cases, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configurations_are_what_prometheus_and_alertmanager_take():
    tool("promtool")
    tool("amtool")
    subprocess.run(["promtool", "check", "config", "--lint-fatal", PROMETHEUS / "prometheus.yml"], check=True)
    subprocess.run(["amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml"], check=True)


# --- a real server, scraped by a real Prometheus ---------------------------------------------------------------------


class Trainer:
    """Values that come again, of which some are far from their kind: hits, evictions, and answers of every confidence."""

    def __init__(self, client):
        self._client = client
        self._memory = client.create_memory("faces", key_dim=16, capacity=256, choose_k=16, inverse_temperature=20)
        self._random = np.random.default_rng(1)
        self._centers = self._random.normal(size=(400, 16))

    def train(self):
        y = np.minimum(self._random.zipf(1.3, size=32) - 1, 399)
        x = self._centers[y] + self._random.normal(size=(32, 16)) * self._random.choice([0.2, 0.6, 1.2], size=(32, 1))
        self._memory.train_step(x, y)
        self._memory.update(x[:4], y[:4])
        self._memory.query(x[:8])

    def rare_things(self):
        self._memory.snapshot()
        with pytest.raises(evoke.NotFound):
            self._client.memory("nobody").describe()
        with pytest.raises(evoke.InvalidArgument):
            self._memory.query(np.ones((1, 3)))


@pytest.fixture(scope="module")
def served():
    """A server under load, and its address for scrapes."""
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    with tempfile.TemporaryDirectory(prefix="evoke-") as folder:
        log = open(folder + "/log", "wb")
        server = subprocess.Popen(
            [os.environ["EVOKE_EVOKED"], "--data-dir", folder + "/data", "--listen", "unix:%s/s" % folder,
             "--http-listen", "127.0.0.1:0", "--die-with-parent"], stdout=log, stderr=log)
        try:
            client = evoke.Client("unix:%s/s" % folder)
            client.wait_ready(timeout=60)
            with open(folder + "/log") as lines:
                address = re.findall(r"http (127\.0\.0\.1:\d+)", lines.read())[-1]
            yield Trainer(client), address
        finally:
            server.terminate()
            assert server.wait() == 0
            log.close()


def scrape(address):
    with urllib.request.urlopen("http://%s/metrics" % address, timeout=30) as reply:
        return parse_exposition(reply.read().decode())


@pytest.fixture(scope="module")
def watched(served, tmp_path_factory):
    """A Prometheus that saw the server work for some scrapes."""
    tool("prometheus")
    trainer, address = served
    with Prometheus(tmp_path_factory.mktemp("prometheus"), address) as prometheus:
        rare_at = [3, 5]
        while prometheus.scrapes() < 8:
            trainer.train()
            if rare_at and prometheus.scrapes() >= rare_at[0]:
                rare_at.pop(0)
                trainer.rare_things()
        yield prometheus


def test_a_real_server_exposes_the_table(served):
    trainer, address = served
    trainer.train()
    trainer.rare_things()
    table = metric_table()
    late = {"evoke_live_recall_ratio", "evoke_shard_slots_live", "evoke_shard_rows_total", "evoke_slot_age_steps"}
    for _ in range(10000):  # the figures of a memory are looked at a second after its turns
        exposed = scrape(address)
        if late <= set(exposed):
            break
        trainer.train()
    # Without an index on a GPU there is nothing of one.
    assert set(exposed) == {name for name in table if not name.startswith("evoke_gpu_")}
    for name, family in exposed.items():
        kind, labels, unit, meaning = table[name]
        assert (family.type, family.help) == (kind, "%s Unit: %s." % (meaning, unit)), name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, name


def test_every_query_of_every_panel_returns_numbers(watched):
    nothing = []
    for where, query in panel_queries():
        if "evoke_gpu_" in query:  # see above
            continue
        for variable, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$memory", ".*")):
            query = query.replace(variable, value)
        if all(math.isnan(value) for value in watched.query(query)):
            nothing.append("%s: %s" % (where, query))
    assert not nothing, "\n".join(nothing)


def test_variables_and_annotations_of_the_dashboards_find_something(watched):
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            values = watched.get("label/%s/values" % label, **{"match[]": metric.replace("$instance", ".*")})
            assert values, (name, variable["name"])
        for annotation in dashboard["annotations"]["list"]:
            assert watched.query(annotation["expr"].replace("$instance", ".*")), name


def test_recording_rules_return_numbers_and_a_healthy_server_alerts_nobody(watched):
    groups = watched.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    for rule in rules:
        if rule["type"] == "recording":
            assert watched.query(rule["name"]), rule["name"]
        else:
            assert rule["alerts"] == [], rule["name"]


def test_no_histogram_has_more_than_a_thousandth_beyond_its_last_bound(watched, served):
    for name, family in scrape(served[1]).items():
        if family.type != "histogram":
            continue
        buckets = {}
        for sample in family.samples:
            if sample.name == name + "_bucket":
                of = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
                buckets.setdefault(of, {})[float(sample.labels["le"])] = sample.value
        for of, counts in buckets.items():
            bounded = max(count for bound, count in counts.items() if bound != math.inf)
            assert counts[math.inf] - bounded <= counts[math.inf] / 1000, (name, of)
