"""What a client shows and what it asks to be shown: TLS and the token. Files are read when a connection is made."""

import dataclasses
import re
from typing import Optional, Sequence, Tuple, Union

import grpc

from . import errors

_Metadata = Tuple[Tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Tls:
    """TLS towards the server; all of it are paths of PEM files but server_name. Immutable, can be pickled.

    root_certificates: whom to believe (None: the system's). certificate, key: the client's own, where the server wants
    one. server_name: what the server's certificate says, when that is not the host of the address.
    """

    root_certificates: Optional[str] = None
    certificate: Optional[str] = None
    key: Optional[str] = None
    server_name: Optional[str] = None

    def __post_init__(self):
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together, and one of them is missing")


class Security:
    """The settings of one client. Immutable; its repr and its errors have no secret. Raises ValueError."""

    def __init__(self, addresses: Sequence[str], tls: Union[None, bool, Tls], token: Optional[str],
                 token_file: Optional[str], allow_insecure_token: bool):
        self._tls = Tls() if tls is True else tls or None
        self._token, self._token_file = token, token_file
        if token is not None and token_file is not None:
            raise ValueError("both token and token_file are given, expected one of them")
        if token is not None and not _sendable(token):
            raise ValueError("token has other characters than visible ASCII, or none")
        if self._tls is None and not allow_insecure_token and (token is not None or token_file is not None):
            for address in addresses:
                if not is_local(address):
                    raise ValueError("the token would cross the network to %s unencrypted: use tls, or say that this "
                                     "network may see it (allow_insecure_token)" % address)

    def channel(self, address: str, options: Sequence[Tuple[str, object]]) -> grpc.Channel:
        """A new channel. Raises InvalidArgument for a file that cannot be read."""
        if self._tls is None or address.startswith("unix:"):
            return grpc.insecure_channel(address, options=options)
        if self._tls.server_name:
            options = list(options) + [("grpc.ssl_target_name_override", self._tls.server_name)]
        credentials = grpc.ssl_channel_credentials(_read(self._tls.root_certificates), _read(self._tls.key),
                                                   _read(self._tls.certificate))
        return grpc.secure_channel(address, credentials, options=options)

    def metadata(self) -> Optional[_Metadata]:
        """Of every call; reads the file. Raises Unauthenticated when that has no token."""
        token = self._token
        if self._token_file is not None:
            try:
                with open(self._token_file, encoding="ascii") as file:
                    token = file.read().strip()
            except (OSError, UnicodeError):
                token = ""
            if not _sendable(token):
                raise errors.Unauthenticated("token_file %s cannot be read, or has no token" % self._token_file)
        return None if token is None else (("authorization", "Bearer " + token),)


def is_local(address: str) -> bool:
    """Whether nothing that is sent there leaves this machine."""
    host = address.rpartition(":")[0]
    return address.startswith("unix:") or host in ("localhost", "[::1]") or bool(re.fullmatch(r"127\.[0-9.]+", host))


def _sendable(token: str) -> bool:
    return bool(re.fullmatch(r"[!-~]+", token))


def _read(path: Optional[str]) -> Optional[bytes]:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise errors.InvalidArgument("%s cannot be read: %s" % (path, error.strerror)) from None
