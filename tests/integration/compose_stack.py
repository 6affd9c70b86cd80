"""deploy/compose brought up by a real Docker engine, under a project name of its own, with nothing from a registry.

Ports are chosen by the engine, so that any number of stacks live beside each other. Not thread-safe. What fails raises
AssertionError with what the command printed.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import urllib.parse
import urllib.request

from runbook_shell import eventually, read_blocks

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
README = COMPOSE / "README.md"
STAND_INS = pathlib.Path(__file__).resolve().parent / "compose" / "stand_ins.yml"
BASE = "debian:bookworm-slim"


def missing():
    """Why no stack can be brought up here, or None."""
    if not shutil.which("docker"):
        return "needs docker"
    if _try("docker", "info"):
        return "needs a Docker engine (tests/integration/compose/engine.sh start FOLDER starts one)"
    if _compose_command() is None:
        return "needs docker-compose, or docker's plug-in of that name"
    if _try("docker", "image", "inspect", BASE) and _try("docker", "pull", BASE):
        return "needs the image " + BASE
    return None


def _try(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _compose_command():
    if not _try("docker", "compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def docker(*arguments, check=True):
    """What it printed, stripped; both streams in the error."""
    done = subprocess.run(("docker",) + arguments, capture_output=True, text=True, check=False)
    said = "docker %s: exit code %d\n%s%s" % (" ".join(arguments), done.returncode, done.stdout, done.stderr)
    assert not check or done.returncode == 0, said
    return done.stdout.strip() if check else done


class Stack:
    """One project of compose. Use as a context: everything of it goes at the end, volumes too."""

    def __init__(self, project, *overrides, **environment):
        self._files = ["--file", str(COMPOSE / "docker-compose.yml")]
        for override in (STAND_INS,) + overrides:
            self._files += ["--file", str(override)]
        self.project = project
        self._environment = dict(
            os.environ, COMPOSE_PROJECT_NAME=project, COMPOSE_HTTP_TIMEOUT="600", EVOKE_VERSION="test", EVOKE_PORT="0",
            EVOKE_HTTP_PORT="0", PROMETHEUS_PORT="0", ALERTMANAGER_PORT="0", **environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        profiles = [word for profile in ("sharded", "demo", "load") for word in ("--profile", profile)]
        self.compose(*profiles, "down", "--volumes", "--timeout", "60")

    def compose(self, *arguments):
        """Standard output; what it says on the other goes to the test's own."""
        command = _compose_command() + self._files + list(arguments)
        done = subprocess.run(command, cwd=COMPOSE, env=self._environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, "%s: exit code %d\n%s" % (" ".join(command), done.returncode, done.stdout)
        return done.stdout

    def run(self, *names, **variables):
        """Blocks of the README, in a shell of their own where `docker compose` is this stack; what they print."""
        blocks = read_blocks(README.read_text(encoding="utf-8"))
        command = shlex.join(_compose_command() + self._files)
        script = 'docker() { if [ "$1" = compose ]; then shift; command %s "$@"; else command docker "$@"; fi; }\n' % command
        script += "".join(blocks[name].text for name in names)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=COMPOSE, stdin=subprocess.DEVNULL, text=True,
                              env=dict(self._environment, **variables), stdout=subprocess.PIPE, check=False)
        assert done.returncode == 0, "%s: exit code %d\n%s" % (names, done.returncode, done.stdout)
        return done.stdout

    def up(self, *services):
        self.compose("up", "--detach", *services)

    def container(self, service="evoked"):
        """Its id; the project has one of each."""
        return self.compose("ps", "--quiet", service).strip()

    def inspect(self, service="evoked"):
        return json.loads(docker("inspect", self.container(service)))[0]

    def health(self, service="evoked"):
        return self.inspect(service)["State"]["Health"]["Status"]

    def wait_until_healthy(self, service="evoked"):
        assert eventually(lambda: self.health(service) == "healthy"), docker("logs", self.container(service), check=False)

    def ctl(self, *arguments, service="evoked"):
        """The JSON that evokectl prints inside of the container of the server."""
        return json.loads(docker("exec", self.container(service), "evokectl", "-o", "json", *arguments))

    def state(self, memory, service="evoked"):
        """Step and state hash of a memory."""
        found = self.ctl("hash", memory, service=service)
        return found["step"], found["state_hash"]

    def get(self, service, port, path):
        """An answer of HTTP, from the published port."""
        address = self.compose("port", service, str(port)).strip()
        with urllib.request.urlopen("http://%s%s" % (address, path), timeout=30) as answer:
            return answer.read().decode()

    def prometheus(self, query):
        """Labels and value of every series that the query finds."""
        answer = json.loads(self.get("prometheus", 9090, "/api/v1/query?query=" + urllib.parse.quote(query)))
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]
