"""TLS and tokens: what is refused before it is sent, and a real server that wants both."""

import hashlib
import os
import pickle
import signal
import subprocess
import time

import pytest

import evoke
from fake_server import refuse

TOKEN = "s3cret-of-alice"


@pytest.mark.parametrize("address", ["10.0.0.1:1", "example.com:1", "127.example.com:1", ["unix:/s", "example.com:1"]])
def test_token_does_not_cross_a_network_unencrypted(address):
    for given in ({"token": TOKEN}, {"token_file": "/t"}):
        with pytest.raises(ValueError, match="unencrypted") as caught:
            evoke.Client(address, **given)
        assert TOKEN not in str(caught.value)
        evoke.Client(address, allow_insecure_token=True, **given)
        evoke.Client(address, tls=True, **given)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/s"])
def test_token_may_go_to_this_machine(address):
    evoke.Client(address, token=TOKEN)


@pytest.mark.parametrize("given", [{"token": "s3 cret"}, {"token": "s3cret\n"}, {"token": ""},
                                   {"token": TOKEN, "token_file": "/t"}])
def test_what_is_no_token_is_refused_and_not_quoted(given):
    with pytest.raises(ValueError) as caught:
        evoke.Client("localhost:1", **given)
    assert "s3" not in str(caught.value)


def test_token_file_without_a_token_is_told_at_the_first_call(tmp_path):
    with evoke.Client("localhost:1", token_file=str(tmp_path / "none")) as client:
        with pytest.raises(evoke.Unauthenticated, match="none cannot be read"):
            client.status()


def test_half_a_client_certificate_is_refused():
    with pytest.raises(ValueError, match="together"):
        evoke.Tls(certificate="c")


def test_refused_token_is_read_again_from_its_file(fake, tmp_path):
    file = tmp_path / "token"
    file.write_text("old\n")
    seen = []

    def refuse_old(server, apply, context):
        seen.append(dict(context.invocation_metadata())["authorization"])
        if seen[-1] == "Bearer old":
            refuse("UNAUTHENTICATED", "UNAUTHENTICATED")(server, apply, context)

    with evoke.Client(fake.address, token_file=str(file), deadline=5) as client:
        fake.script["Status"] = [refuse_old] * 10
        with pytest.raises(evoke.Unauthenticated):
            client.status()
        assert seen == ["Bearer old"]  # nothing new in the file: not asked again
        file.write_text("new\n")
        client.status()
        assert seen[-1] == "Bearer new"


def test_refused_token_of_a_stream_is_read_again_too(fake, tmp_path):
    file = tmp_path / "token"
    file.write_text("old\n")

    def refuse_old(server, apply, context):
        if dict(context.invocation_metadata())["authorization"] == "Bearer old":
            refuse("UNAUTHENTICATED", "UNAUTHENTICATED")(server, apply, context)

    with evoke.Client(fake.address, token_file=str(file), deadline=5) as client:
        client.status()
        file.write_text("new\n")
        fake.script["CreateSnapshot"] = [refuse_old] * 2
        assert client.memory("m").snapshot().id
        assert len(fake.requests["CreateSnapshot"]) == 2


def test_pickle_carries_the_settings_and_repr_no_secret(tmp_path):
    client = evoke.Client("localhost:1", tls=evoke.Tls("ca"), token=TOKEN)
    copy = pickle.loads(pickle.dumps(client))
    assert copy.__getstate__() == client.__getstate__() and copy.__getstate__()["tls"] == evoke.Tls("ca")
    assert TOKEN not in repr(client)
    by_file = evoke.Client("localhost:1", token_file=str(tmp_path / "t"))
    assert TOKEN.encode() not in pickle.dumps(by_file)


@pytest.fixture
def secured(tmp_path):
    """A real server with TLS and alice's token; yields (address, folder, a function that installs another token)."""
    if not os.environ.get("EVOKE_EVOKED"):
        pytest.skip("needs EVOKE_EVOKED=path of the built server")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate", "-subj", "/CN=server",
                    "-addext", "subjectAltName=DNS:server.example"], check=True, capture_output=True)

    def install(token):
        digest = hashlib.sha256(token.encode()).hexdigest()
        (tmp_path / "tokens").write_text("alice trainer birds* %s\n" % digest)

    install(TOKEN)
    (tmp_path / "token").write_text(TOKEN + "\n")
    arguments = ["--listen", "127.0.0.1:0", "--tls-certificate", tmp_path / "certificate", "--tls-key",
                 tmp_path / "key", "--tokens", tmp_path / "tokens"]
    with evoke.local(arguments=[str(a) for a in arguments], token_file=str(tmp_path / "token")) as server:
        def log():
            with open(server.log_path) as file:
                return file.read()
        port = log().partition(server.address + " 127.0.0.1:")[2].partition(",")[0]

        def rotate(token):
            install(token)
            os.kill(server.pid, signal.SIGHUP)
            until = time.monotonic() + 60
            while "tokens are read" not in log():
                assert time.monotonic() < until
        yield "127.0.0.1:" + port, tmp_path, rotate
        assert "s3cret" not in log()


def test_client_speaks_tls_and_shows_its_token(secured):
    address, folder, rotate = secured
    tls = evoke.Tls(str(folder / "certificate"), server_name="server.example")
    with evoke.Client(address, tls=tls, token_file=str(folder / "token"), deadline=20) as client:
        memory = client.create_memory("birds", key_dim=2, capacity=8)
        memory.update([1, 0], 17)
        with pytest.raises(evoke.PermissionDenied) as caught:
            client.create_memory("faces", key_dim=2, capacity=8)
        assert caught.value.reason == "PERMISSION_DENIED"
        worker = pickle.loads(pickle.dumps(memory))
        assert worker.query([1, 0]).values.tolist() == [17]
        rotate("s3cret-2")
        (folder / "token").write_text("s3cret-2")
        assert memory.query([1, 0]).values.tolist() == [17]
    for wrong in (evoke.Tls(str(folder / "certificate")), evoke.Tls(server_name="server.example"), None):
        with evoke.Client(address, tls=wrong, token_file=str(folder / "token"), deadline=1) as client:
            with pytest.raises(evoke.EvokeError) as caught:
                client.status()
        assert caught.value.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
