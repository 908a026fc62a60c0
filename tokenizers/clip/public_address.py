"""Downloads from the public network alone: names are looked up first, who answers before anything is asked."""

from __future__ import annotations

import ipaddress
import socket
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    UnknownHandler,
)

from framegate.errors import CapError


def public_opener() -> OpenerDirector:
    """An opener that reads public addresses alone, by no proxy; a name, or a redirect, that leads elsewhere fails."""
    opener = OpenerDirector()
    # build_opener would add one of ftp://, where a redirect may lead, and whoever answers there is not looked at
    for handler in (
        _PublicHTTPHandler(),
        _PublicHTTPSHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def is_public(address: str) -> bool:
    """True of an IP address of the public network, also where it carries one of IPv4 (mapped, 6to4, NAT64)."""
    peer = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address):
        if inner := peer.ipv4_mapped or peer.sixtofour:
            return is_public(str(inner))
        if peer.is_reserved or peer.is_site_local:
            return False
    return peer.is_global and not peer.is_multicast


def _check_public(connection: HTTPConnection, address: str) -> None:
    if not is_public(address):
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
