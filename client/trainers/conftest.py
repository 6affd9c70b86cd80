"""Lets pytest find the package `trainers` in the source tree; the client comes installed, or from PYTHONPATH."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
