"""Starts a server of one's own, for notebooks, tests and demonstrations."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from typing import Any, List, Optional, Sequence

from .client import Client
from .errors import EvokeError

_SOCKET_PATH_LIMIT = 100  # sun_path has 108 bytes

# Runs in a small Python of its own, which becomes the server: argv is [parent's pid, command...]. Not a preexec_fn,
# because that forks this process with Python in it, which gRPC does not always survive. 1 is PR_SET_PDEATHSIG.
_TRAMPOLINE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def local(path: Optional[str] = None, **options: Any) -> "Local":
    """Starts `evoked` on a Unix socket and waits until it is ready; see Local for the arguments.

        with evoke.local() as server:
            memory = server.client.create_memory("m", key_dim=2, capacity=8)
    """
    return Local(path, **options)


def find_evoked(evoked: Optional[str] = None) -> str:
    """The server's binary: the argument, else $EVOKE_EVOKED, else beside this package, else on PATH.

    Raises FileNotFoundError naming the places.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "evoked")
    for given in (evoked, os.environ.get("EVOKE_EVOKED")):
        if given:
            if not os.access(given, os.X_OK) or os.path.isdir(given):
                raise FileNotFoundError("%s is not an executable file" % given)
            return os.path.abspath(given)
    found = beside if os.access(beside, os.X_OK) else shutil.which("evoked")
    if not found:
        raise FileNotFoundError("no evoked: give evoked=PATH, set EVOKE_EVOKED, or put it at %s or on PATH" % beside)
    return found


class Local:
    """A server process of this process.

    path: data directory, kept; None: a temporary one, removed by close(). evoked: path of the binary. arguments:
    further command line of the server. timeout: seconds to become ready. Remaining options go to the Client.

    The server ends with close(), at the end of the with statement, at interpreter exit, or, if this process is killed,
    by a signal of the kernel (a temporary directory is then left behind). A forked child can use `client` but does not
    own the process. Thread-compatible. Raises FileNotFoundError, or EvokeError with the server's last words.
    """

    def __init__(self, path: Optional[str] = None, *, evoked: Optional[str] = None, arguments: Sequence[str] = (),
                 timeout: float = 60.0, **client_options: Any):
        self._evoked = find_evoked(evoked)
        self._timeout = timeout
        self._run_dir = tempfile.mkdtemp(prefix="evoke-")
        if len(os.path.join(self._run_dir, "evoked.sock")) > _SOCKET_PATH_LIMIT:
            os.rmdir(self._run_dir)
            self._run_dir = tempfile.mkdtemp(prefix="evoke-", dir="/tmp")
        self.data_dir = os.path.abspath(path) if path else os.path.join(self._run_dir, "data")
        self.log_path = os.path.join(self._run_dir, "evoked.log")
        self.address = "unix:" + os.path.join(self._run_dir, "evoked.sock")
        self._arguments = list(arguments)
        self._processes = []  # the running server, if any
        self._owner = os.getpid()
        self._dispose = weakref.finalize(self, _dispose, self._owner, self._processes, self._run_dir)
        self.client = Client(self.address, **client_options)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> Optional[int]:
        """Of the server; None while it does not run."""
        return self._processes[0].pid if self._processes else None

    def start(self, wait: bool = True) -> None:
        """Starts the server again after kill() or stop(), on the same address and data; waits until it is ready."""
        if self._processes:
            raise RuntimeError("the server is running")
        socket_path = self.address[len("unix:"):]
        if os.path.exists(socket_path):
            os.unlink(socket_path)
        os.makedirs(self.data_dir, exist_ok=True)
        self._processes.append(_Process([self._evoked, "--data-dir", self.data_dir, "--listen", self.address,
                                         "--http-listen", "off"] + self._arguments, self.log_path))
        if wait:
            self._wait_ready()

    def stop(self, timeout: float = 30.0) -> Optional[int]:
        """SIGTERM, wait, SIGKILL after `timeout` seconds. Returns the exit status (None: it did not run)."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """SIGKILL, as a crash does it. What was acknowledged is on disk; start() brings it back."""
        self._end(signal.SIGKILL, None)

    def close(self) -> None:
        """Stops the server, closes the client, and removes what is temporary. Idempotent."""
        self.client.close()
        self._dispose()

    def _end(self, number: int, timeout: Optional[float]) -> Optional[int]:
        if not self._processes or os.getpid() != self._owner:
            return None
        return self._processes.pop().end(number, timeout)

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _wait_ready(self) -> None:
        until = time.monotonic() + self._timeout
        while True:
            try:
                self.client.wait_ready(timeout=min(1.0, max(0.1, until - time.monotonic())))
                return
            except EvokeError as error:
                status = self._processes[0].poll()
                if status is not None or time.monotonic() >= until:
                    what = "ended with status %s" % status if status is not None else "is not ready: %s" % error
                    self.stop()
                    raise EvokeError("evoked %s; its last words:\n%s" % (what, self._last_words())) from None

    def _last_words(self) -> str:
        try:
            with open(self.log_path, errors="replace") as log:
                return "".join(log.readlines()[-20:])
        except OSError:
            return "(none)"


class _Process:
    """A child that gets SIGTERM when this process dies.

    The kernel sends that signal when the *thread* that forked the child ends. So a thread of its own does that
    and lives as long as the child. The child has a session of its own: Ctrl-C in a terminal is for this process to act upon.
    """

    def __init__(self, command: Sequence[str], log_path: str):
        self._command, self._log_path = list(command), log_path
        self._started = threading.Event()
        self._ended = threading.Event()
        self._error: Optional[BaseException] = None
        self._popen: Optional[subprocess.Popen] = None
        threading.Thread(target=self._run, name="evoked", daemon=True).start()
        self._started.wait()
        if self._error:
            raise self._error

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> Optional[int]:
        """Exit status, or None while it runs."""
        return self._popen.returncode if self._ended.is_set() else None

    def end(self, number: int, timeout: Optional[float]) -> int:
        """Sends a signal, waits, sends SIGKILL after `timeout` seconds; returns the exit status."""
        if not self._ended.is_set():
            self._popen.send_signal(number)
            if not self._ended.wait(timeout):
                self._popen.send_signal(signal.SIGKILL)
                self._ended.wait()
        return self._popen.returncode

    def _run(self) -> None:
        try:
            with open(self._log_path, "ab") as log:
                self._popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid())] + self._command,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        except BaseException as error:  # handed to the starting thread
            self._error = error
            self._started.set()
            return
        self._started.set()
        self._popen.wait()
        self._ended.set()


def _dispose(owner: int, processes: List[_Process], run_dir: str) -> None:
    """Ends the server and removes the directory; does nothing in a forked child, which owns neither."""
    if os.getpid() != owner:
        return
    while processes:
        processes.pop().end(signal.SIGTERM, 30.0)
    shutil.rmtree(run_dir, ignore_errors=True)
