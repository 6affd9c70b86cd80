#!/usr/bin/env python3
"""Draws the dashboards from a Prometheus, for whoever has no Grafana: plot_dashboards.py URL SECONDS FOLDER.

One picture a dashboard, of the last SECONDS, with the same queries; variables are set to all.
"""

import json
import math
import pathlib
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DASHBOARDS = pathlib.Path(__file__).resolve().parent / "dashboards"
COLUMNS = 4


def query_range(url: str, query: str, seconds: float, window: str):
    """(labels, times, values) of each series."""
    for variable, value in (("$__rate_interval", window), ("$instance", ".*"), ("$memory", ".*")):
        query = query.replace(variable, value)
    now = time.time()
    parameters = {"query": query, "start": now - seconds, "end": now, "step": max(1.0, seconds / 200)}
    with urllib.request.urlopen("%s/api/v1/query_range?%s" % (url, urllib.parse.urlencode(parameters)), timeout=60) as reply:
        for series in json.load(reply)["data"]["result"]:
            yield series["metric"], [now - t for t, _ in series["values"]], [float(v) for _, v in series["values"]]


def legend_of(text: str, labels: dict) -> str:
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    return text


def draw(panel: dict, axes, url: str, seconds: float) -> None:
    axes.set_title("%s [%s]" % (panel["title"], panel["fieldConfig"]["defaults"]["unit"]), fontsize=9)
    axes.tick_params(labelsize=6)
    if panel["fieldConfig"]["defaults"].get("custom", {}).get("scaleDistribution"):
        axes.set_yscale("log")
    rows = []
    for target in panel["targets"]:
        for labels, ages, values in query_range(url, target["expr"], seconds, "%ds" % max(5, seconds / 20)):
            if panel["type"] == "heatmap":
                rows.append((float(labels["le"]), values))
            elif not all(math.isnan(v) for v in values):
                axes.plot([-age for age in ages], values, linewidth=1, label=legend_of(target["legendFormat"], labels)[:40])
    if rows:
        rows.sort()
        width = max(len(values) for _, values in rows)
        filled = [[0.0] * (width - len(values)) + values for _, values in rows]
        cells = [[b - a for a, b in zip(low, high)] for low, high in zip([[0.0] * width] + filled, filled)]
        axes.imshow(cells, aspect="auto", origin="lower", cmap="Oranges", interpolation="nearest")
        axes.set_yticks(range(len(rows)), ["%g" % bound for bound, _ in rows])
    elif axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=5, loc="best")


def main() -> None:
    url, seconds, folder = sys.argv[1].rstrip("/"), float(sys.argv[2]), pathlib.Path(sys.argv[3])
    for path in sorted(DASHBOARDS.glob("*.json")):
        panels = [p for p in json.loads(path.read_text())["panels"] if p["type"] != "row"]
        height = math.ceil(len(panels) / COLUMNS)
        figure, grid = plt.subplots(height, COLUMNS, figsize=(5 * COLUMNS, 2.6 * height), squeeze=False)
        for axes, panel in zip(grid.flat, panels):
            draw(panel, axes, url, seconds)
        for axes in list(grid.flat)[len(panels):]:
            axes.axis("off")
        figure.tight_layout()
        figure.savefig(folder / (path.stem + ".png"), dpi=70)


if __name__ == "__main__":
    main()
