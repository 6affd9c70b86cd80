"""Fixtures of the tests of what is installed and packaged; they need the build that $EVOKE_EVOKED is of."""

import os
import pathlib

import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: only with tests/run.sh --full")


SOURCE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def source_dir():
    """The root of the source tree."""
    return SOURCE


@pytest.fixture(scope="session")
def build_dir():
    """The CMake build folder of the evoked that $EVOKE_EVOKED names; skips where there is none."""
    evoked = os.environ.get("EVOKE_EVOKED")
    if not evoked:
        pytest.skip("needs EVOKE_EVOKED=BUILD/bin/evoked")
    return pathlib.Path(evoked).resolve().parents[1]
