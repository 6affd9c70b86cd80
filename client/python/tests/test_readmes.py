"""The programs in the READMEs of the clients do what their comments say."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

CLIENT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = re.compile(r"^```python\n(import .*?)^```$", re.MULTILINE | re.DOTALL)


def programs():
    """Blocks that begin with an import; the others show a line or two."""
    for readme in (CLIENT / "README.md", CLIENT / "python" / "README.md"):
        for number, match in enumerate(PROGRAM.finditer(readme.read_text(encoding="utf-8"))):
            yield pytest.param(match.group(1), id="%s-%d" % (readme.parent.name, number))


@pytest.mark.parametrize("program", programs())
def test_program_prints_what_its_comments_say(program):
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    if "import torch" in program:
        pytest.importorskip("torch")
    path = os.pathsep.join(p for p in sys.path if p)
    out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=120,
                         env=dict(os.environ, PYTHONPATH=path)).stdout
    expected = re.findall(r"^ *print\(.*?\) +# (.*)$", program, re.MULTILINE)
    assert not expected or out.splitlines() == expected


def test_there_are_programs():
    assert len(list(programs())) >= 4
