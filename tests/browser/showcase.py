"""A server whose memories have something to show."""

import os
import re
import struct
import subprocess
import time
import zlib

import numpy as np

import evoke

PATIENCE = 60.0  # seconds; ends only a test that hangs
HOSTILE = b"<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"


def eventually(condition, what):
    """Looks again until `condition()` is true; returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("never came: " + what)


def png(pixels):
    """Grey pixels as a PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


class Server:
    """An evoked on free ports, with memories `glyphs` (images, full, evicts) and `words` (text, bytes, markup)."""

    def __init__(self, folder, *flags):
        self._log = open(os.path.join(folder, "log"), "w+")
        self._process = subprocess.Popen(
            [os.environ["EVOKE_EVOKED"], "--data-dir", os.path.join(folder, "data"), "--listen", "127.0.0.1:0",
             "--http-listen", "127.0.0.1:0", "--threads", "2", "--die-with-parent", *flags], stderr=self._log)
        line = eventually(lambda: re.search(r" on 127\.0\.0\.1:(\d+), http 127\.0\.0\.1:(\d+)",
                                            open(self._log.name).read()), "evoked serves")
        self.address, self.url = "127.0.0.1:" + line[1], "http://127.0.0.1:%s/" % line[2]

    def fill(self, token=None):
        client = evoke.Client(self.address, **({"token": token} if token else {}))
        random = np.random.default_rng(3)
        self.glyphs = client.create_memory("glyphs", key_dim=16, capacity=24, choose_k=16, age_noise=0)
        self.words = client.create_memory("words", key_dim=8, capacity=1000)
        kinds = random.normal(size=(12, 16))
        for _ in range(20):
            values = random.integers(0, 12, 8)
            rows = kinds[values] + random.normal(scale=1.1, size=(8, 16))
            self.glyphs.train_step(rows.astype(np.float32), values,
                                   payloads=[png(np.roll(np.eye(16, dtype=np.uint8) * 255, v, 1)) for v in values])
        self.words.update(np.eye(8, dtype=np.float32)[:4], [5, 6, 7, -2**62 - 1],
                          payloads=[HOSTILE, b"\0\xff" * 9, "größe".encode(), b"far"])

    def stop(self):
        self._process.kill()
        self._process.wait()
