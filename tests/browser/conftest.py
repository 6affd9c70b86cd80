"""Needs $EVOKE_EVOKED, and Debian's chromium, chromium-driver and python3-selenium (deploy/packages.sh browser); skips
without them.
"""

import hashlib
import os
import shutil
import tempfile

import pytest

from showcase import Server

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def started(place, *flags):
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    return Server(place, *flags)


@pytest.fixture(scope="session")
def server():
    with tempfile.TemporaryDirectory(prefix="evoke-") as place:
        running = started(place)
        running.fill()
        yield running
        running.stop()


@pytest.fixture(scope="session")
def guarded():
    """With tokens: "t0ken-root" is an admin's, "t0ken-rita" a reader's of glyphs."""
    with tempfile.TemporaryDirectory(prefix="evoke-") as place:
        with open(os.path.join(place, "tokens"), "w") as tokens:
            for who, may in (("root", "admin *"), ("rita", "reader gly*")):
                tokens.write("%s %s %s\n" % (who, may, hashlib.sha256(("t0ken-" + who).encode()).hexdigest()))
        running = started(place, "--tokens", os.path.join(place, "tokens"))
        running.fill("t0ken-root")
        yield running
        running.stop()


@pytest.fixture
def browser():
    """Makes a page of a width and a scheme; afterwards nothing may have been complained of."""
    selenium = pytest.importorskip("selenium", reason="needs python3-selenium (deploy/packages.sh browser)")
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip("needs %s (deploy/packages.sh browser)" % program)
    from page import Page
    assert selenium
    pages = []

    def make(url, **options):
        pages.append(Page(url, FLAGS, **options))
        return pages[-1]

    yield make
    for page in pages:
        complaints = page.complaints()
        page.quit()
        assert not complaints, complaints
