"""Downloads from the public network alone: names are looked up first, who answers before anything is asked."""

from __future__ import annotations

import ipaddress
import socket
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from framegate.errors import CapError


def public_opener() -> OpenerDirector:
    """An opener that reads public addresses alone, by no proxy; a name, or a redirect, that leads elsewhere fails."""
    return build_opener(ProxyHandler({}), _PublicHTTPHandler(), _PublicHTTPSHandler())


def _check_public(connection: HTTPConnection, address: str) -> None:
    peer = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(peer, "ipv4_mapped", None)
    if not (mapped or peer).is_global or peer.is_multicast:
        connection.close()
        # which address it is, is nobody's business out there
        raise CapError(
            f"{connection.host!r} is no address of the public network (cap public_only); put the video where it can be "
            "fetched from, or send its bytes as 'data:video/mp4;base64,...'.",
            cap="public_only",
        )


def _check_name(connection: HTTPConnection) -> None:
    """Before a connection, whose failure would tell which ports are open inside."""
    for *_, place in socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM):
        _check_public(connection, str(place[0]))


def _check_peer(connection: HTTPConnection) -> None:
    """The other end of a connection, whatever the name was said to be a moment before."""
    _check_public(connection, connection.sock.getpeername()[0])


class _PublicHTTPConnection(HTTPConnection):
    def connect(self) -> None:
        _check_name(self)
        super().connect()
        _check_peer(self)


class _PublicHTTPSConnection(HTTPSConnection):
    def connect(self) -> None:
        _check_name(self)
        super().connect()
        _check_peer(self)


class _PublicHTTPHandler(HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_PublicHTTPConnection, req)


class _PublicHTTPSHandler(HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_PublicHTTPSConnection, req)
