"""What the image and compose name is there: options, variables, programs, files. Needs no Docker engine.

Needs $EVOKE_EVOKED, with the other programs beside it.
"""

import os
import re
import subprocess

import pytest
import yaml

from compose_stack import COMPOSE, ROOT

OF_EVOKECTL = {"EVOKE_ADDRESS", "EVOKE_TLS_CA", "EVOKE_TOKEN_FILE"}


def printed(program, *arguments):
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    path = os.path.join(os.path.dirname(os.environ["EVOKE_EVOKED"]), program)
    return subprocess.run([path, *arguments], stdout=subprocess.PIPE, check=True, text=True).stdout


def services(*files):
    """Name -> definitions of it, in the files of compose."""
    found = {}
    for file in files:
        for name, definition in yaml.safe_load((COMPOSE / file).read_text())["services"].items():
            found.setdefault(name, []).append(definition)
    return found


def test_every_variable_that_a_container_of_evoked_gets_is_an_option_of_it():
    flags = re.findall(r"^  --([a-z-]+)", printed("evoked", "--help"), re.MULTILINE)
    options = {"EVOKE_" + flag.upper().replace("-", "_") for flag in flags}
    given = set(re.findall(r"^ENV .*(EVOKE_\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for name, definitions in services("docker-compose.yml", "secure.yml").items():
        if name.startswith("evoked"):
            given.update(*(d.get("environment", {}) for d in definitions))
    assert "EVOKE_TOKENS" in given and given - OF_EVOKECTL <= options


def test_evoked_takes_the_file_of_the_image_when_it_is_told_who_may_come():
    file = str(ROOT / "deploy" / "image" / "evoked.toml")
    assert 'listen = "0.0.0.0:7380"' in printed("evoked", "--config", file, "--allow-insecure-remote", "--print-config")
    with pytest.raises(subprocess.CalledProcessError):
        printed("evoked", "--config", file, "--check-config")


def test_what_is_mounted_is_there():
    mounted = [volume.split(":")[0] for definitions in services("docker-compose.yml").values() for d in definitions
               for volume in d.get("volumes", []) if volume.startswith(".")]
    assert len(mounted) == 4
    assert [path for path in mounted if not (COMPOSE / path).is_dir()] == []


def test_every_secret_is_a_file_that_make_secrets_makes(tmp_path):
    folder = tmp_path / "secrets"
    make = [COMPOSE / "make_secrets.sh", "evoke.example.net", "192.0.2.7"]
    subprocess.run(make, env=dict(os.environ, EVOKE_SECRETS=str(folder)), check=True)
    secrets = yaml.safe_load((COMPOSE / "secure.yml").read_text())["secrets"]
    assert {os.path.basename(secret["file"]) for secret in secrets.values()} == set(os.listdir(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    shown = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", folder / "server.pem"], stdout=subprocess.PIPE,
                           check=True).stdout
    assert all(name in shown for name in (b"DNS:evoked,", b"DNS:evoke.example.net", b"IP Address:192.0.2.7"))
    again = subprocess.run(make, env=dict(os.environ, EVOKE_SECRETS=str(folder)), stderr=subprocess.PIPE, check=False)
    assert again.returncode == 1 and b"remove it" in again.stderr


def test_the_load_of_a_profile_is_one_that_evoke_load_takes():
    flags = set(re.findall(r"(--[a-z0-9.-]+)", printed("evoke-load", "--help")))
    for name in ("load", "load-sharded"):
        definition = services("docker-compose.yml")[name][0]
        assert {a for a in definition["entrypoint"][1:] + definition["command"] if a.startswith("--")} <= flags


def test_a_stop_has_more_time_than_a_drain():
    drain = re.search(r"--drain-timeout.*\n *Default: (\d+)s", printed("evoked", "--help"))[1]
    for name, (definition, *_) in services("docker-compose.yml").items():
        if name.startswith("evoked"):
            assert int(re.fullmatch(r"(\d+)s", definition["stop_grace_period"])[1]) > int(drain)
