"""os.fork() between calls: parent and children go on, and every mutation is applied once."""

import subprocess
import sys
import textwrap

import evoke

PROGRAM = textwrap.dedent("""
    import os, sys
    sys.path[:0] = {path!r}
    import numpy as np
    import evoke

    client = evoke.Client({address!r})
    memory = client.memory("m")
    x, y = np.eye(2, dtype=np.float32), [1, 2]
    memory.update(x, y)
    pids = []
    for i in range({forks}):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                memory.update(x, y)
                memory.query(x)
                client.memory("m").update(x, y)
                status = 0
            finally:
                if i % 2:
                    os._exit(status)
                sys.exit(status)  # the ordinary way out, with all its exit handlers
        pids.append(pid)
        memory.update(x, y)
    bad = [p for p in pids if os.waitpid(p, 0)[1]]
    assert not bad, bad
    memory.update(x, y)
    print("mutations", 2 + 3 * len(pids), flush=True)
""")


def test_children_and_parent_go_on_after_a_fork(fake):
    forks = 6
    program = PROGRAM.format(path=[p for p in sys.path if p], address=fake.address, forks=forks)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout
    assert "mutations %d" % (fake.step // 2) in done.stdout
    first_numbers = [r.mutation.session for r in fake.requests["Update"] if r.mutation.number == 1]
    assert len(set(first_numbers)) >= 1 + 2 * forks  # the child of a fork uses no session of its parent


def test_top_level_import_brings_no_framework():
    program = "import sys; sys.path[:0] = %r; import evoke; print([m for m in ('torch', 'tensorflow', 'jax') " \
              "if m in sys.modules])" % [p for p in sys.path if p]
    out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.strip() == "[]"
    assert evoke.__version__
