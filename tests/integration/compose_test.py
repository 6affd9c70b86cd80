"""The image and deploy/compose on a real Docker engine: what an operator does in the first hour, and at 3 a.m.

Slow: the image compiles the server when it is not cached. $DOCKER_HOST, or the default socket, leads to the engine; the
tests are skipped where there is none. Debian's Prometheus and Alertmanager stand in for their makers' images.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import uuid

import pytest

import compose_stack
from compose_stack import COMPOSE, README, Stack, docker
from runbook_shell import eventually, read_blocks

pytestmark = pytest.mark.slow
IMAGE = "evoke:test"


@pytest.fixture(scope="module")
def images():
    """All images of the stacks, built from this tree; with $EVOKE_IMAGES=keep those that are there under the same names."""
    why_not = compose_stack.missing()
    if why_not:
        pytest.skip(why_not)
    if os.environ.get("EVOKE_IMAGES") != "keep":
        Stack("evoke-test-images").compose("--profile", "demo", "build", "--quiet", "evoked", "trainer", "prometheus",
                                           "alertmanager")


@pytest.fixture(scope="module")
def stack(images):
    """Up and healthy, as `docker compose up` leaves it; the tests of this file run in their order, on one stack."""
    with Stack("evoke-test-%s" % uuid.uuid4().hex[:8]) as stack:
        began = time.monotonic()
        stack.run("up")
        stack.wait_until_healthy()
        print("from `up` to healthy: %.1f s" % (time.monotonic() - began))
        yield stack


def states(stack):
    """Step and hash of every memory that a restart keeps."""
    kept = [m["name"] for m in stack.ctl("memory", "list")["memories"] if m["spec"]["durability"] != "MEMORY"]
    assert "load" in kept
    return {name: stack.state(name) for name in kept}


def test_the_image_has_four_programs_and_no_shell_and_its_labels_are_true(images):
    about = json.loads(docker("image", "inspect", IMAGE))[0]
    config = about["Config"]
    print("size of the image: %.1f MB" % (about["Size"] / 1e6))
    assert about["Size"] < 150e6
    assert config["User"] == "65532:65532" and config["StopSignal"] == "SIGTERM"
    assert set(config["Volumes"]) == {"/var/lib/evoke", "/var/backups/evoke"}
    assert set(config["ExposedPorts"]) == {"7380/tcp", "7381/tcp"}
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "evokectl", "health"]
    version = docker("run", "--rm", IMAGE, "--version")
    assert version.split()[:2] == ["evoked", config["Labels"]["org.opencontainers.image.version"]]
    container = docker("create", IMAGE)
    try:
        listing = subprocess.run(["docker", "export", container], stdout=subprocess.PIPE, check=True).stdout
        names = subprocess.run(["tar", "--list"], input=listing, stdout=subprocess.PIPE, check=True).stdout.decode().split()
    finally:
        docker("rm", "--volumes", container)
    programs = {name for name in names if re.match(r"(usr/)?s?bin/[^/]+$", name)}
    assert programs == {"usr/bin/" + p for p in ("evoked", "evokectl", "evoke-load", "evoke-inspect")}
    packages = {name.split("/")[4] for name in names if re.match(r"var/lib/dpkg/status\.d/.", name)}
    licences = {name.split("/")[3] for name in names if re.match(r"usr/share/doc/.*/copyright$", name)}
    assert {"libc6", "libgrpc29", "librocksdb7.8"} <= packages and licences == packages | {"evoke"}


def test_a_container_that_was_not_told_who_may_come_does_not_start(images):
    done = docker("run", "--rm", IMAGE, check=False)
    assert done.returncode == 2 and "neither TLS" in done.stderr
    assert docker("run", "--rm", "--read-only", "--env", "EVOKE_ALLOW_INSECURE_REMOTE=true", IMAGE, "--check-config",
                  check=False).returncode == 0


def test_a_crash_ends_a_container_that_has_no_init(images):
    container = docker("run", "--detach", "--env", "EVOKE_ALLOW_INSECURE_REMOTE=true", IMAGE)
    try:
        docker("exec", container, "evokectl", "health", "--wait")
        docker("kill", "--signal", "ABRT", container)
        assert eventually(lambda: docker("inspect", "--format", "{{.State.Running}}", container) == "false")
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == str(128 + signal.SIGABRT)
        assert "*** ABRT; stack" in docker("logs", container, check=False).stderr
    finally:
        docker("rm", "--force", "--volumes", container)


def test_the_server_is_confined_and_plans_with_what_its_container_may_have(stack):
    host = stack.inspect()["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] == 4 << 30 and host["NanoCpus"] == 2e9
    limits = stack.ctl("status")["limits"]
    assert limits["memory_budget_bytes"] == pytest.approx(0.8 * (4 << 30), rel=0.01)
    for service in ("prometheus", "alertmanager"):
        assert stack.inspect(service)["HostConfig"]["ReadonlyRootfs"]
    addresses = {b["HostIp"] for bindings in stack.inspect()["NetworkSettings"]["Ports"].values() for b in bindings}
    assert addresses == {"127.0.0.1"}


def test_every_block_of_commands_of_the_readme_is_run_here_or_says_why_not():
    used = re.findall(r'"([a-z-]+)"', " ".join(re.findall(r"stack\.run\((.*)\)", pathlib.Path(__file__).read_text())))
    assert set(used) - {"load"} == set(read_blocks(README.read_text()))


def test_what_an_operator_looks_at_says_that_it_serves(stack):
    printed = stack.run("function", "look")
    assert "healthy" in printed and re.search(r"state +SERVING", printed) and '"msg":"evoked ' in printed


def test_load_runs_and_keeps_every_promise(stack):
    report = json.loads(stack.compose(
        "run", "--rm", "load", "--memory", "load", "--create", "--slots", "4096", "--dim", "64", "--rows", "8", "--mix",
        "query=1,train_step=1", "--calls", "300", "--progress", "never", "--json", "-"))
    print("load: %.0f calls/s, p99 %.1f ms" % (report["run"]["all"]["calls_per_second"],
                                             report["run"]["all"]["latency_ms"]["p99"]))
    assert report["correctness"]["kept"] and report["run"]["all"]["failed"] == 0
    assert report["run"]["server_time"]["turns"] > 0
    assert stack.state("load") == (report["state"]["step"], report["state"]["state_hash"])


def test_the_trainer_learns_from_made_drawings(stack):
    printed = stack.compose("run", "--rm", "trainer", "--address", "evoked:7380", "--minutes", "10", "--iterations", "60",
                            "--eval-episodes", "40")  # so many steps, however slow: the same bits every time
    was, now = map(float, re.search(r"^trainer: .* 1-shot ([\d.]+)% -> ([\d.]+)%", printed, re.MULTILINE).groups())
    print(printed.strip().splitlines()[-1])
    assert now > was
    assert stack.state("omniglot-life-128")[0] > 0


def test_metrics_of_every_memory_arrive_in_prometheus(stack):
    steps = {name: step for name, (step, _) in states(stack).items()}

    def arrived():
        found = {labels["memory"]: value for labels, value in stack.prometheus("evoke_step")}
        return {name: found.get(name) for name in steps} == steps
    assert eventually(arrived), stack.prometheus("evoke_step")
    assert [v for _, v in stack.prometheus('up{instance="evoked:7381"}')] == [1.0]
    assert all(v > 0 for _, v in stack.prometheus("sum(evoke_grpc_requests_total)"))
    assert json.loads(stack.get("alertmanager", 9093, "/api/v2/status"))["uptime"]


def test_a_killed_server_comes_back_by_itself_in_the_same_state(stack):
    before = states(stack)
    was = stack.inspect()
    os.kill(was["State"]["Pid"], signal.SIGKILL)  # of what runs in the container; `docker kill` would mean: stay down
    assert eventually(lambda: stack.inspect()["RestartCount"] == was["RestartCount"] + 1)
    stack.wait_until_healthy()
    assert states(stack) == before


def test_a_server_killed_by_hand_comes_back_with_up_in_the_same_state(stack):
    before = stack.state("load")
    docker("kill", "--signal", "KILL", stack.container())
    stack.up()
    stack.wait_until_healthy()
    assert stack.state("load") == before


def test_a_stop_drains_and_ends_with_0_and_data_outlive_down_and_up(stack):
    before = states(stack)
    container = stack.container()
    stack.compose("stop", "evoked")
    assert json.loads(docker("inspect", container))[0]["State"]["ExitCode"] == 0
    assert before["load"][1] in stack.run("function", "inspect", MEMORY="load")
    stack.wait_until_healthy()
    stack.run("stop")
    assert docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=" + stack.project) == ""
    stack.up()
    stack.wait_until_healthy()
    assert states(stack) == before
    assert eventually(lambda: stack.prometheus("count_over_time(evoke_step{memory='load'}[1h])"))


def test_a_memory_over_several_shards_is_the_same_memory(stack):
    stack.compose("--profile", "sharded", "up", "--detach", "--no-deps", "evoked-sharded")
    stack.wait_until_healthy("evoked-sharded")
    calls = ["--memory", "twin", "--create", "--slots", "4096", "--dim", "64", "--rows", "16", "--calls", "200",
             "--progress", "never"]
    for service in ("load", "load-sharded"):
        stack.compose("run", "--rm", service, *calls)
    assert stack.state("twin", "evoked-sharded") == stack.state("twin")
    searched = 'count by (instance) (evoke_shard_rows_total{memory="twin",what="searched"} > 0)'
    assert eventually(lambda: sorted(value for _, value in stack.prometheus(searched)) == [1, 4]), stack.prometheus("up")


def test_a_backup_is_on_the_other_volume_and_becomes_the_memory_again_after_an_upgrade(stack):
    before = stack.state("load")
    stack.run("function", "backup")
    stack.run("upgrade")
    stack.ctl("memory", "delete", "load", "--yes")
    assert before[1] in stack.run("function", "restore", MEMORY="load")
    assert stack.state("load") == before


def test_with_secure_yml_nobody_comes_in_without_certificate_and_token(images, tmp_path):
    secrets = tmp_path / "secrets"
    environment = {"EVOKE_SECRETS": str(secrets)}
    subprocess.run([COMPOSE / "make_secrets.sh"], env=dict(os.environ, **environment), check=True)
    with Stack("evoke-test-%s" % uuid.uuid4().hex[:8], COMPOSE / "secure.yml", **environment) as stack:
        stack.up("evoked")
        stack.wait_until_healthy()
        assert stack.ctl("status")["version"]  # by the socket, as admin
        address = stack.compose("port", "evoked", "7380").strip().replace("0.0.0.0", "127.0.0.1")
        evokectl = os.path.join(os.path.dirname(os.environ["EVOKE_EVOKED"]), "evokectl")

        def status(*flags):
            done = subprocess.run([evokectl, "--address", address, "--deadline", "5s", *flags, "status"],
                                  capture_output=True, text=True, check=False)
            return done.returncode, done.stderr
        assert status("--tls-ca", secrets / "ca.pem", "--token-file", secrets / "trainer.token") == (0, "")
        code, said = status("--tls-ca", secrets / "ca.pem")
        assert code == 1 and "UNAUTHENTICATED" in said
        assert status()[0] == 1
        stack.compose("run", "--rm", "load", "--memory", "load", "--create", "--slots", "64", "--dim", "8", "--calls", "20")
        stack.compose("run", "--rm", "trainer", "--address", "evoked:7380", "--minutes", "0", "--eval-episodes", "1")
        assert stack.state("load")[0] == 20
