"""Man pages and shell completion, as installed: whole, and true of the programs beside them."""

import gzip
import os
import re
import subprocess

import pytest
from conftest import need, run

import evoke

PROGRAMS = {"evoked": 8, "evoke-inspect": 8, "evokectl": 1, "evoke-load": 1}


def helps(*command):
    """What a program and its commands say with --help. Not read with the code that makes the pages."""
    text = run(*command, "--help")
    yield text
    for name in re.findall(r"^  ([a-z][a-z-]*)  ", text.partition("\nSubcommands:")[2], re.MULTILINE):
        yield from helps(*command, name)


def flags(text):
    return {flag.rstrip("-.") for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*", text)}


def complete(installed, line, **environment):
    """What bash offers behind `line`."""
    script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_${1//-/_}"; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    words = line.split(" ")
    path = installed / "usr/share/bash-completion/completions" / words[0]
    return set(run("bash", "-uc", script, path, *words,
                   env={**os.environ, "PATH": "%s:%s" % (installed / "usr/bin", os.environ["PATH"]), **environment}).split())


@pytest.mark.parametrize("program, section", PROGRAMS.items())
def test_the_page_has_every_flag_of_help(installed, program, section):
    page = installed / ("usr/share/man/man%d/%s.%d.gz" % (section, program, section))
    with gzip.open(page, "rt") as f:
        page = f.read()
    said = set().union(*(flags(text) for text in helps(installed / "usr/bin" / program)))
    assert len(said) > 3
    assert not said - flags(re.sub(r"\\f.", "", page).replace("\\-", "-")) and "@" not in re.sub(r"\S@\S", "", page)


@pytest.mark.parametrize("program, section", PROGRAMS.items())
def test_man_renders_the_page_without_a_warning(installed, program, section):
    need("man", "groff")
    page = installed / ("usr/share/man/man%d/%s.%d.gz" % (section, program, section))
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", page], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env={**os.environ, "MANWIDTH": "100", "MANROFFOPT": ""})
    assert done.returncode == 0 and done.stderr == ""
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_of_the_program_is_offered(installed, program):
    own = re.findall(r"^  (?:-\w,)?(--[a-z0-9.-]+)", run(installed / "usr/bin" / program, "--help"), re.MULTILINE)
    assert complete(installed, program + " --") == set(own)


@pytest.mark.parametrize("line, offered", [
    ("evokectl sn", {"snapshot"}),
    ("evokectl snapshot ver", {"verify"}),
    ("evokectl --output json snapshot restore --to", {"--token", "--token-file"}),
    ("evokectl memory create --durability ", {"fsync", "wal", "memory"}),
    ("evokectl memory create x --durability w", {"wal"}),
    ("evokectl -o j", {"json"}),
    ("evoke-load --arrivals ", {"poisson", "constant"}),
    ("evoked --index f", {"flat", "faiss_flat", "faiss_gpu", "faiss_gpu_f16", "faiss_gpu_flat"}),
    ("evoke-inspect --data-dir /x verify", {"verify-snapshot"}),
])
def test_commands_flags_and_their_words_are_offered(installed, line, offered):
    assert complete(installed, line) == offered


def test_names_of_memories_come_from_the_server(installed):
    with evoke.local() as server:
        for name in ("birds", "bees", "faces"):
            server.client.create_memory(name, key_dim=2, capacity=8, durability="memory")
        assert complete(installed, "evokectl hash b", EVOKE_ADDRESS=server.address) == {"birds", "bees"}
    assert complete(installed, "evokectl hash b", EVOKE_ADDRESS="unix:/no/such/socket") == set()


def test_zsh_takes_its_completion(installed):
    need("zsh")
    folder = installed / "usr/share/zsh/vendor-completions"
    text = run("zsh", "-fc", "fpath=($0 $fpath); autoload -U compinit; compinit -u -d $0/dump; source $0/_evokectl; "
               "print $_comps[evokectl]", folder)
    assert "_bash_complete" in text
