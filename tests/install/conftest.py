"""Fixtures of the tests of what is installed and packaged; they need the build that $EVOKE_EVOKED is of."""

import os
import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: only with tests/run.sh --full")


def run(*command, code=0, **more):
    """Output of a command, stderr with it; fails the test, with all that it printed, at another exit code."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **more)
    assert done.returncode == code, "%s: exit code %d\n%s" % (command, done.returncode, done.stdout)
    return done.stdout


def need(*tools):
    """Skips the test where one of these programs is missing."""
    for tool in tools:
        if not shutil.which(tool):
            pytest.skip("needs %s" % tool)


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


@pytest.fixture(scope="session")
def installed(build_dir, tmp_path_factory):
    """What packages are made of, as if / were this folder: usr/bin, etc/evoke and so on."""
    root = tmp_path_factory.mktemp("installed")
    for component in ("server", "service", "tools"):
        run("cmake", "--install", build_dir, "--component", component, "--prefix", "/usr",
            env={**os.environ, "DESTDIR": str(root)})
    return root
