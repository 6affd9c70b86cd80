"""Moves a memory that was trained elsewhere into a server: keys, values and ages from .npz or .npy files.

    python -m evoke.import_npz memory.npz --memory words --create
    python -m evoke.import_npz keys.npy --values values.npy --ages ages.npy --memory words

An export of Evoke itself is another thing: Client.import_file brings it back bit for bit.
"""

import argparse
import sys
from typing import Dict, Optional, Tuple

import numpy as np

from . import _security
from . import client as _client
from .errors import EvokeError

# Names that are looked for when none is given: ours, and those of the authors' TensorFlow module, as variables
# (memkeys) and as attributes (mem_keys).
NAMES = {"keys": ("keys", "memkeys", "mem_keys"), "values": ("values", "memvals", "mem_vals"),
         "ages": ("ages", "memage", "mem_age")}


class Usage(Exception):
    """What was asked for does not fit the file; the message is for people."""


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evoke.import_npz", description=__doc__.split("\n")[0])
    parser.add_argument("file", help=".npz with the arrays, or .npy with the keys")
    parser.add_argument("--memory", required=True, help="name of the memory")
    parser.add_argument("--address", default="127.0.0.1:7380")
    for what, names in NAMES.items():
        parser.add_argument("--" + what, metavar="NAME", help="array in the .npz (default: %s), or a .npy file" %
                            " or ".join(names))
    parser.add_argument("--create", action="store_true", help="make the memory if it is not there")
    parser.add_argument("--capacity", type=int, help="slots of a memory that is made; default: rows of the file")
    parser.add_argument("--skip-zero-keys", action=argparse.BooleanOptionalAction, default=True,
                        help="leave rows out whose key is all zeros: slots that were never written")
    parser.add_argument("--tls", action="store_true", help="speak TLS, and believe the system's roots")
    parser.add_argument("--tls-ca", metavar="FILE", help="PEM: whom to believe instead; implies --tls")
    parser.add_argument("--token-file", metavar="FILE", help="file that holds the token")
    parser.add_argument("--deadline", type=float, default=3600, help="seconds")
    return parser.parse_args(argv)


def read(options: argparse.Namespace) -> Tuple[np.ndarray, np.ndarray, Optional[np.ndarray]]:
    """(keys [rows, key_dim], values [rows], ages [rows] or None). Raises Usage, OSError, ValueError."""
    found = np.load(options.file, mmap_mode="r")  # of a .npz the mode says nothing
    arrays: Dict[str, Optional[np.ndarray]] = {}
    for what in NAMES:
        asked = getattr(options, what)
        if asked and asked.endswith(".npy"):
            arrays[what] = np.load(asked)
        elif not isinstance(found, np.ndarray):
            arrays[what] = _member(found, what, asked)
        else:
            arrays[what] = found if what == "keys" else None
    if arrays["keys"] is None or arrays["values"] is None:
        raise Usage("%s: no %s; name them with --keys and --values" % (
            options.file, "keys" if arrays["keys"] is None else "values"))
    keys, values, ages = arrays["keys"], arrays["values"], arrays["ages"]
    if keys.ndim != 2 or values.shape != keys.shape[:1] or (ages is not None and ages.shape != values.shape):
        raise Usage("keys %s, values %s and ages %s do not belong together" % (
            keys.shape, values.shape, ages.shape if ages is not None else "(none)"))
    return keys, values, ages


def _member(archive, what: str, asked: Optional[str]) -> Optional[np.ndarray]:
    """An array by its name, or by the usual ones; of "scope/memkeys:0" the middle counts."""
    if asked:
        if asked not in archive:
            raise Usage("no array %r for --%s; the file has %s" % (asked, what, ", ".join(archive.files)))
        return archive[asked]
    plain = {name.rpartition("/")[2].partition(":")[0]: name for name in archive.files}
    return next((archive[plain[name]] for name in NAMES[what] if name in plain), None)


def run(options: argparse.Namespace, client: "_client.Client") -> str:
    """Imports; returns one line that says what happened."""
    keys, values, ages = read(options)
    rows, skipped = len(keys), 0
    if options.skip_zero_keys:
        written = np.asarray(keys).any(axis=1)
        skipped = int(rows - written.sum())
        if skipped:
            keys, values, ages = keys[written], values[written], None if ages is None else ages[written]
    if options.create:
        memory = client.create_memory(options.memory, key_dim=keys.shape[1], capacity=options.capacity or rows,
                                      if_not_exists=True)
    else:
        memory = client.memory(options.memory)
    memory.import_arrays(keys, values, ages, progress=True, deadline=options.deadline)
    now = memory.state_hash()
    return "imported %d rows (%d never written) into %r: %d live slots, step %d, state hash %s" % (
        len(keys), skipped, options.memory, now.live_slots, now.header.step, now.state_hash)


def main(argv=None) -> int:
    options = parse(argv)
    try:
        tls = _security.Tls(root_certificates=options.tls_ca) if options.tls_ca else options.tls or None
        with _client.Client(options.address, tls=tls, token_file=options.token_file) as client:
            print(run(options, client))
    except (Usage, EvokeError, OSError, ValueError) as error:
        print("import_npz: %s" % error, file=sys.stderr)
        return 2 if isinstance(error, Usage) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
