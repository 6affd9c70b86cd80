#!/usr/bin/env python3
"""Writes dashboards/*.json: make_dashboards.py [--check]. --check writes nothing and fails when one would change."""

import json
import pathlib
import sys

import memory_health
import service
import training

FOLDER = pathlib.Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = {"service.json": service.DASHBOARD, "memory_health.json": memory_health.DASHBOARD,
              "training.json": training.DASHBOARD}


def text_of(dashboard: dict) -> str:
    return json.dumps(dashboard, indent=1) + "\n"


def main() -> int:
    changed = [name for name, dashboard in DASHBOARDS.items()
               if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text_of(dashboard)]
    if "--check" in sys.argv:
        print("\n".join("%s is not what make_dashboards.py makes" % name for name in changed))
        return 1 if changed else 0
    for name in changed:
        (FOLDER / name).write_text(text_of(DASHBOARDS[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
