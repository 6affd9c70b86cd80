"""A Debian in a folder, booted: its own systemd, processes, network and control group, gone with this object."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

# Becomes the first process of the new system. Its / is the folder, and nothing of the machine is mounted in it.
BOOT = """
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp dev; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
chmod 755 run dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ip link set lo up
hostname evoke-test
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=null
"""
PATIENCE = 120.0  # seconds; it ends only a test that hangs


class Booted:
    """Boots `root`; skips the test where this machine does not let it. Not thread-safe."""

    def __init__(self, root: pathlib.Path):
        # A group of its own, or the new systemd would take the machine's processes for its own.
        mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        groups = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
        if not groups:
            pytest.skip("needs control groups of version 2")
        self._group = pathlib.Path(groups[0]) / ("evoke-test-%d" % os.getpid())
        try:
            self._group.mkdir()
        except OSError as error:
            pytest.skip("cannot make a control group: %s" % error)
        self._process = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$1"/cgroup.procs && exec unshare --cgroup --mount --pid --net --uts --ipc --fork '
             '--kill-child=SIGKILL sh -euc "$2" "$0"', str(root), str(self._group), BOOT], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self) -> "Booted":
        try:
            until = time.monotonic() + PATIENCE
            # "degraded": some unit failed, as of the hardware that is not there.
            while self.sh("systemctl is-system-running || true", may_fail=True).strip() not in ("running", "degraded"):
                if self._process.poll() is not None:
                    pytest.skip("systemd does not boot here: %s" % self._process.stdout.read().decode().strip())
                assert time.monotonic() < until, "systemd does not come up"
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._process.send_signal(signal.SIGKILL)  # and with it all of its processes
        self._process.wait()
        until = time.monotonic() + PATIENCE
        while self._group.exists() and time.monotonic() < until:
            for folder in sorted(self._group.glob("**/"), reverse=True):
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.05)

    def sh(self, text: str, may_fail: bool = False) -> str:
        """Runs a script inside; returns what it printed."""
        children = pathlib.Path("/proc/%d/task/%d/children" % (self._process.pid, self._process.pid))
        first = children.read_text().split() if children.exists() else []
        if not first:
            return ""
        done = subprocess.run(["nsenter", "--target", first[0], "--cgroup", "--mount", "--pid", "--net", "--uts", "--ipc",
                               "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-euc", text], timeout=PATIENCE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert may_fail or done.returncode == 0, "%s\n%s" % (text, done.stdout)
        return done.stdout
