"""The Debian packages in a system that has nothing else: installed, started by the book, used, removed."""

import os
import shutil
import subprocess

import pytest
from booted import Booted
from conftest import need, run

pytestmark = pytest.mark.slow

# A network of its own, so that the default ports are free, whatever runs on this machine.
ALONE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-euc",
         'ip link set lo up; mount -t proc proc "$0/proc"; exec chroot "$0" "$@"']
CONNECTED = ["unshare", "--mount", "--pid", "--fork", "sh", "-euc",
             'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"']
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

PYTHON = """
import evoke
memory = evoke.Client("127.0.0.1:7380").create_memory("birds", key_dim=2, capacity=8, if_not_exists=True)
if memory.describe().step == 0:
    memory.update([1, 0], 17)
print(evoke.__version__, memory.query([1, 0]).values.tolist())
"""

# As the unit does it: its command, as its user.
SESSION = """
set -eu
command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/evoked.service)
setpriv --reuid=evoke --regid=evoke --clear-groups $command >/tmp/log 2>&1 &
server=$!
trap 'cat /tmp/log' EXIT
evokectl health --wait --timeout 60s
python3 -c "$1"
evokectl memory list
kill $server
wait $server && echo "exit code 0"
trap - EXIT
"""


@pytest.fixture(scope="module")
def packages(build_dir, tmp_path_factory):
    """Folder with the packages of this build, one a component."""
    need("dpkg-deb", "dpkg-shlibdeps")
    folder = tmp_path_factory.mktemp("packages")
    run("cmake", "--build", build_dir, "--target", "evoke_documents", "evoke_changelog")
    run("cpack", "--config", build_dir / "CPackConfig.cmake", "-B", folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The smallest Debian there is."""
    need("debootstrap", "unshare", "ip")
    if os.geteuid() != 0:
        pytest.skip("needs root, for debootstrap and chroot")
    folder = tmp_path_factory.mktemp("root")
    done = subprocess.run(["debootstrap", "--variant=minbase", "--include=python3", "bookworm", str(folder)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        shutil.rmtree(folder)
        pytest.skip("debootstrap: %s" % done.stdout.strip().splitlines()[-1])
    folder.chmod(0o755)  # it is / for the user of the service
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def inside(root, *command, how=ALONE, **more):
    return run(*how, root, *command, env=ENVIRONMENT, **more)


def test_packages_are_installed_used_upgraded_and_purged_and_memories_stay(root, packages):
    names = sorted(path.name for path in packages.glob("*.deb"))
    assert [name.split("_")[0] for name in names] == ["evoke-server", "evoke-tools", "libevoke-dev", "python3-evoke"]
    for name in names:
        shutil.copy(packages / name, root / "tmp" / name)
    installed = ["./tmp/" + name for name in names if not name.startswith("libevoke-dev")]
    inside(root, "sh", "-euc", 'cd /; apt-get update -q; apt-get install -q -y --no-install-recommends "$@"', "sh",
           *installed, how=CONNECTED)

    assert inside(root, "evoked", "--config", "/etc/evoke/evoked.toml", "--check-config") == "the configuration is right\n"
    assert inside(root, "stat", "-c", "%U %a", "/var/lib/evoke") == "evoke 700\n"
    told = inside(root, "sh", "-c", SESSION, "sh", PYTHON)
    assert "[17]" in told and "exit code 0" in told, told

    # What an administrator has changed stays, through an upgrade and a removal.
    config = root / "etc/evoke/evoked.toml"
    config.write_text(config.read_text() + "max-k = 17\n")
    inside(root, "sh", "-euc", 'cd /; dpkg -i "$@"', "sh", *installed)
    assert "max-k = 17" in config.read_text()
    told = inside(root, "sh", "-c", SESSION, "sh", PYTHON)
    assert "[17]" in told and "exit code 0" in told, told

    inside(root, "dpkg", "--remove", "evoke-server")
    assert config.exists() and not (root / "usr/bin/evoked").exists()
    assert "are kept" in inside(root, "dpkg", "--purge", "evoke-server")
    inside(root, "dpkg", "--purge", "python3-evoke")
    assert not (root / "usr/lib/python3/dist-packages/evoke").exists()
    assert not config.exists() and list((root / "var/lib/evoke/memories").iterdir())


def test_the_development_package_has_what_find_package_looks_for(packages):
    files = run("dpkg-deb", "--contents", next(packages.glob("libevoke-dev_*.deb")))
    assert "/cmake/evoke/evokeConfig.cmake" in files and "./usr/include/evoke/client.h" in files


def state(system, *names):
    """Of the unit, as systemd sees it."""
    text = system.sh("systemctl show evoked " + " ".join("-p " + name for name in names))
    return dict(line.split("=", 1) for line in text.splitlines())


def test_systemd_runs_reloads_watches_and_stops_the_service(root, packages):
    need("nsenter")
    names = [path.name for path in packages.glob("evoke-*.deb")]
    for name in names:
        shutil.copy(packages / name, root / "tmp" / name)
    inside(root, "sh", "-euc", 'cd /; apt-get update -q; apt-get install -q -y --no-install-recommends systemd dbus "$@"',
           "sh", *("./tmp/" + name for name in names), how=CONNECTED)
    drop_in = root / "etc/systemd/system/evoked.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "test.conf").write_text("[Service]\nWatchdogSec=3s\nRestartSec=100ms\n")
    config = "/etc/evoke/evoked.toml"

    with Booted(root) as system:
        # Enabled by the package. It counts as started when it serves, so nothing is waited for here.
        system.sh("systemctl start evoked; evokectl health")
        started = state(system, "Type", "StatusText", "UnitFileState")
        assert started.pop("StatusText").startswith("serving, memories: ")  # those that a purge has left, too
        assert started == {"Type": "notify", "UnitFileState": "enabled"}
        assert system.sh("ps -o user= -p $(systemctl show evoked -p MainPID --value) 2>/dev/null || "
                         "stat -c %U /proc/$(systemctl show evoked -p MainPID --value)").strip() == "evoke"
        system.sh("evokectl memory create bees --key-dim 2 --capacity 8 --if-not-exists")

        system.sh("systemctl reload evoked")
        system.sh("echo 'max-k = 0' >>%s; ! systemctl reload evoked; systemctl is-active evoked" % config)
        assert state(system, "NRestarts") == {"NRestarts": "0"}
        # The next start reads it, is refused, and is not repeated, whatever the policy says of failures.
        system.sh("! systemctl restart evoked")
        assert state(system, "ActiveState", "ExecMainStatus", "NRestarts") == {
            "ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
        system.sh("sed -i '/max-k = 0/d' %s; systemctl start evoked" % config)

        # One that is killed, and one that hangs, come back, with their memories.
        kill = "systemctl kill --kill-who=main -s %s evoked; until [ $(systemctl show evoked -p NRestarts --value) = %d ]; " \
               "do sleep 0.1; done; evokectl health --wait --timeout 60s; evokectl hash bees"
        system.sh(kill % ("KILL", 1))
        system.sh(kill % ("STOP", 2))
        assert "ABRT; stack, innermost first" in system.sh("journalctl -u evoked --no-pager")

        system.sh("systemctl stop evoked")
        assert state(system, "ActiveState", "Result", "ExecMainStatus") == {
            "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
