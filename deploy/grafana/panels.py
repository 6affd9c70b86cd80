"""Panels and dashboards as Grafana's JSON, from a title, what it means, a unit and queries.

Queries are PromQL with two shorthands: SERVER and MEMORY stand for the label matchers of the dashboard's variables.
Nothing is laid out by hand: panels fill rows of 24 columns from the left.
"""

from typing import List, NamedTuple, Sequence, Tuple

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
SERVER = 'instance=~"$instance"'
MEMORY = 'instance=~"$instance",memory=~"$memory"'
WINDOW = "[$__rate_interval]"

Query = Tuple[str, str]  # PromQL, legend


class Panel(NamedTuple):
    title: str
    about: str  # what it shows, and what to make of it
    unit: str   # Grafana's id: s, bytes, Bps, ops, percentunit, short, none
    queries: Sequence[Query]
    kind: str = "timeseries"  # or stat, bargauge, heatmap
    width: int = 8
    stack: bool = False
    most: float = None        # upper end of the axis
    steps: Sequence[Tuple[float, str]] = ()  # colors from a value on, for stat and bargauge
    log: bool = False


class Row(NamedTuple):
    title: str
    panels: List[Panel]


def rate(metric: str, by: str = "memory", match: str = MEMORY) -> str:
    return "sum by (%s) (rate(%s{%s}%s))" % (by, metric, match, WINDOW)


def total(metric: str, match: str = MEMORY) -> str:
    return "sum(rate(%s{%s}%s))" % (metric, match, WINDOW)


def quantile(q: float, metric: str, by: str = "memory", match: str = MEMORY) -> str:
    return "histogram_quantile(%g, sum by (le, %s) (rate(%s_bucket{%s}%s)))" % (q, by, metric, match, WINDOW)


def mean(metric: str, by: str = "memory", match: str = MEMORY) -> str:
    return "%s / %s" % (rate(metric + "_sum", by, match), rate(metric + "_count", by, match))


def quantiles(metric: str, by: str = "memory", match: str = MEMORY,
              wanted: Sequence[float] = (0.5, 0.99)) -> List[Query]:
    return [(quantile(q, metric, by, match), "p%g {{%s}}" % (100 * q, by)) for q in wanted]


def dashboard(uid: str, title: str, about: str, rows: Sequence[Row], memories: bool = True) -> dict:
    panels, y = [], 0
    for row in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, height = y + 1, 0, 0
        for panel in row.panels:
            tall = 4 if panel.kind == "stat" else 8
            if x + panel.width > 24:
                y, x, height = y + height, 0, 0
            place = {"x": x, "y": y, "w": panel.width, "h": tall}
            panels.append(_panel(len(panels) + 1, panel, place))
            x, height = x + panel.width, max(height, tall)
        y += height
    variables = [_variable("instance", "Server", "label_values(evoke_build_info, instance)")]
    if memories:
        variables.append(_variable("memory", "Memory", 'label_values(evoke_slots_live{%s}, memory)' % SERVER))
    return {
        "uid": uid, "title": title, "description": about, "tags": ["evoke"], "schemaVersion": 39, "version": 1,
        "editable": False, "graphTooltip": 1, "refresh": "10s", "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": variables}, "panels": panels,
        "links": [{"type": "dashboards", "tags": ["evoke"], "title": "Evoke", "asDropdown": False,
                   "includeVars": True, "keepTime": True}],
        "annotations": {"list": [{
            "name": "Starts of the server", "datasource": DATASOURCE, "enable": True, "iconColor": "orange",
            "expr": "process_start_time_seconds{%s} * 1000" % SERVER, "useValueForTime": "on",
            "titleFormat": "start", "textFormat": "{{instance}}"}]},
    }


def _variable(name: str, label: str, query: str) -> dict:
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "definition": query,
            "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}


def _panel(number: int, panel: Panel, place: dict) -> dict:
    targets = []
    for i, (query, legend) in enumerate(panel.queries):
        target = {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
        if panel.kind in ("stat", "bargauge"):
            target.update(instant=True, range=False)
        if panel.kind == "heatmap":
            target.update(format="heatmap")
        targets.append(target)
    defaults = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        defaults["max"] = panel.most
    made = {"id": number, "type": panel.kind, "title": panel.title, "description": panel.about, "gridPos": place,
            "datasource": DATASOURCE, "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}}
    made["options"] = _OPTIONS[panel.kind](panel, defaults)
    return made


def _timeseries(panel: Panel, defaults: dict) -> dict:
    defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 20 if panel.stack else 5,
                          "showPoints": "never", "spanNulls": False,
                          "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"}}
    if panel.log:
        defaults["custom"]["scaleDistribution"] = {"type": "log", "log": 10}
        del defaults["min"]
    return {"legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"}}


def _colored(panel: Panel, defaults: dict) -> None:
    steps = [{"value": None, "color": "green"}] + [{"value": v, "color": c} for v, c in panel.steps]
    if panel.steps and panel.steps[0][0] == 0:  # what is below the first step cannot be
        steps = [{"value": None, "color": panel.steps[0][1]}] + steps[2:]
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    defaults["color"] = {"mode": "thresholds"}


def _stat(panel: Panel, defaults: dict) -> dict:
    _colored(panel, defaults)
    return {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}, "colorMode": "value", "graphMode": "none",
            "textMode": "auto", "justifyMode": "auto"}


def _bargauge(panel: Panel, defaults: dict) -> dict:
    _colored(panel, defaults)
    return {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}, "displayMode": "basic",
            "orientation": "horizontal"}


def _heatmap(panel: Panel, defaults: dict) -> dict:
    del defaults["min"]
    return {"calculate": False, "yAxis": {"unit": panel.unit}, "cellGap": 1, "legend": {"show": False},
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "filterValues": {"le": 1e-9}, "tooltip": {"mode": "single", "yHistogram": True}}


_OPTIONS = {"timeseries": _timeseries, "stat": _stat, "bargauge": _bargauge, "heatmap": _heatmap}
