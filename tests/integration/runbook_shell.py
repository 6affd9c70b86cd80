"""The blocks of deploy/README.md and deploy/ALERTS.md, and a shell in which they are run as an operator would run them."""

import os
import pathlib
import re
import select
import subprocess
import time
import urllib.request
from typing import Dict, NamedTuple

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
DEADLINE = 60.0  # seconds for a block; it ends only a test that hangs
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    text: str
    exit_code: int


def read_blocks(markdown: str) -> Dict[str, Block]:
    """Name -> block, in their order. Raises ValueError for a block of commands that is neither run nor says why not."""
    blocks = {}
    for match in FENCE.finditer(markdown):
        info, text = match["info"].strip(), match["text"]
        line = markdown.count("\n", 0, match.start()) + 1
        if not re.match(r"sh\b", info):
            if re.search(r"^(evoke|curl |kill )", text, re.MULTILINE):
                raise ValueError("line %d: commands in a block that is not marked sh" % line)
            continue
        run = re.fullmatch(r"sh run=(?P<name>[a-z-]+)( exit=(?P<code>\d+))?", info)
        if run and run["name"] not in blocks:
            blocks[run["name"]] = Block(text, int(run["code"] or 0))
        elif run or not re.fullmatch(r"sh no-run: .{10,}", info):
            raise ValueError("line %d: ```%s: expected `sh run=NAME`, once, or `sh no-run: REASON`" % (line, info))
    return blocks


def runbook_blocks() -> Dict[str, Block]:
    """Of both pages, which share their names."""
    return read_blocks("\n".join((DEPLOY / page).read_text(encoding="utf-8") for page in ("README.md", "ALERTS.md")))


class Shell:
    """One bash with -euo pipefail, in a folder of its own; variables and background processes stay from block to block.

    The servers that it starts listen on a socket of the folder and on a free port, and end with it. Not thread-safe.
    Failure: AssertionError with what the block printed; the shell is then at its end.
    """

    def __init__(self, folder: pathlib.Path, binaries: str, **variables: str):
        self.folder, self.blocks = folder, runbook_blocks()
        self.data, self.backup = folder / "data", folder.parent / "backup"
        self.address = "unix:%s/s" % folder
        for path in (folder, self.backup):
            path.mkdir(exist_ok=True)
        mine = {name: value for name, value in os.environ.items() if not name.startswith("EVOKE_")}
        mine.update(DATA=str(self.data), BACKUP=str(self.backup), LOG=str(folder / "log"), CONFIG=str(folder / "conf"),
                    MEMORY="faces", EVOKE_ADDRESS=self.address, EVOKE_LISTEN=self.address,
                    EVOKE_HTTP_LISTEN="127.0.0.1:0", EVOKE_DIE_WITH_PARENT="true",
                    PATH="%s:%s" % (binaries, os.environ["PATH"]))
        mine.update(variables)
        self._bash = subprocess.Popen(["bash", "-euo", "pipefail"], cwd=folder, env=mine, text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.run("variables")

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_) -> None:
        self._bash.kill()
        self._bash.communicate()
        if self.data.is_dir():  # its servers have a signal of the kernel by now
            subprocess.run(["flock", str(self.data / "LOCK"), "true"], check=True)

    def run(self, name: str) -> str:
        """Runs a block of the runbook; returns what it printed."""
        return self._do(name, *self.blocks[name])

    def sh(self, text: str) -> str:
        """Runs what is no block: what the test does beside the runbook."""
        return self._do("sh", text + "\n", 0)

    def start(self, name: str = "start") -> None:
        """A block that starts a server; then $HTTP is its port."""
        self.run(name)
        ports = re.findall(r"http (127\.0\.0\.1:\d+)", (self.folder / "log").read_text())
        self.http = ports[-1]
        self.sh("server=$! HTTP=%s" % self.http)

    def stop(self) -> None:
        """The block, and exit code 0 of the server."""
        assert "stopped" in self.run("stop")
        self.sh('wait "$server"')

    def metric(self, series: str) -> float:
        with urllib.request.urlopen("http://%s/metrics" % self.http, timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(series + " "):
                    return float(line.rpartition(" ")[2])
        raise AssertionError("no series " + series)

    def _do(self, name: str, text: str, exit_code: int) -> str:
        block, printed = self.folder / "block.sh", self.folder / "printed"
        block.write_text(text)
        if exit_code == 0:  # in this shell, so that what it sets and starts stays
            line = '. "%s" </dev/null >"%s" 2>&1; echo 0\n' % (block, printed)
        else:  # not behind || or !, where -e would be off
            line = 'set +e; (set -e; . "%s") </dev/null >"%s" 2>&1; echo $?; set -e\n' % (block, printed)
        self._bash.stdin.write(line)
        self._bash.stdin.flush()
        ready = select.select([self._bash.stdout], [], [], DEADLINE)[0]
        code = self._bash.stdout.readline().strip() if ready else "none within %g s" % DEADLINE
        output = printed.read_text(errors="replace") if printed.exists() else ""
        assert code == str(exit_code), "block %s: exit code %s, expected %d; it printed:\n%s" % (
            name, code or "of an error", exit_code, output)
        return output


def eventually(condition, seconds: float = 60.0) -> bool:
    """Whether it becomes true; the time only ends a test that hangs."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
