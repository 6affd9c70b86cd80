"""The unit that packages install: systemd takes it, and what it says agrees with the server."""

import configparser
import re
import subprocess

import pytest
from conftest import need, run


@pytest.fixture
def unit(installed, tmp_path):
    """The unit with the paths of this installation."""
    text = (installed / "usr/lib/systemd/system/evoked.service").read_text()
    path = tmp_path / "evoked.service"
    path.write_text(text.replace("/usr/bin/evoked", str(installed / "usr/bin/evoked")))
    return path


@pytest.fixture
def service(installed):
    parser = configparser.ConfigParser(strict=False, delimiters="=", comment_prefixes="#", interpolation=None)
    parser.optionxform = str
    parser.read(installed / "usr/lib/systemd/system/evoked.service")
    return parser["Service"]


def test_systemd_finds_nothing_wrong(unit):
    need("systemd-analyze")
    assert run("systemd-analyze", "verify", "--man=no", unit) == ""


def test_little_of_the_machine_is_exposed(unit):
    need("systemd-analyze")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout  # above 1.5


def test_what_no_restart_mends_is_not_restarted(service, source_dir):
    enum = (source_dir / "server/process.h").read_text()
    codes = {name: value for name, value in re.findall(r"kExit(\w+) = (\d)", enum)}
    assert service["Type"] == "notify" and service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"].split() == [codes[n] for n in ("Usage", "Corrupt", "Locked")]
    # A check before the start would restart for ever: the codes above are of the main process only.
    assert "ExecStartPre" not in service


def test_stop_is_given_more_time_than_a_drain_takes(installed, service):
    printed = run(installed / "usr/bin/evoked", "--print-config", "--data-dir", "x")
    drain = int(re.search(r'^drain-timeout = "(\d+)s"$', printed, re.MULTILINE).group(1))
    assert int(service["TimeoutStopSec"].rstrip("s")) >= drain + 15


def test_the_configuration_is_right_and_so_is_what_it_proposes(installed, tmp_path):
    evoked, path = installed / "usr/bin/evoked", installed / "etc/evoke/evoked.toml"
    assert run(evoked, "--config", path, "--check-config") == "the configuration is right\n"
    proposed = tmp_path / "all.toml"
    proposed.write_text(re.sub(r"^# ([a-z-]+ = )", r"\1", path.read_text(), flags=re.MULTILINE))
    printed = run(evoked, "--config", proposed, "--print-config")
    keys = re.findall(r"^([a-z-]+) = ", proposed.read_text(), re.MULTILINE)
    assert len(keys) > 8 and printed.count(" from file\n") == len(keys)


def test_folders_of_the_configuration_are_those_that_the_unit_opens(installed, service):
    config = (installed / "etc/evoke/evoked.toml").read_text()
    assert 'data-dir = "/var/lib/%s"' % service["StateDirectory"] in config
    assert '"/var/log/%s/audit.log"' % service["LogsDirectory"] in config
    assert '"unix:/run/%s/evoked.sock"' % service["RuntimeDirectory"] in config
