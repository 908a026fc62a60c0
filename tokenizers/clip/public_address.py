"""Downloads from the public network alone: who answers is looked at once connected, before anything is asked of it."""

from __future__ import annotations

import ipaddress
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from framegate.errors import CapError


def public_opener() -> OpenerDirector:
    """An opener that reads public addresses alone, by no proxy; a name, or a redirect, that leads elsewhere fails."""
    return build_opener(ProxyHandler({}), _PublicHTTPHandler(), _PublicHTTPSHandler())


def _check_peer(connection: HTTPConnection) -> None:
    """The connection's other end, whatever its name was said to be: no second look-up can lead elsewhere."""
    peer = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
    mapped = getattr(peer, "ipv4_mapped", None)
    if not (mapped or peer).is_global or peer.is_multicast:
        connection.close()
        raise CapError(
            f"{connection.host!r} is {peer}, no address of the public network (cap public_only); put the video where "
            "it can be fetched from, or send its bytes as 'data:video/mp4;base64,...'.",
            cap="public_only",
        )


class _PublicHTTPConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _PublicHTTPSConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _PublicHTTPHandler(HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_PublicHTTPConnection, req)


class _PublicHTTPSHandler(HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_PublicHTTPSConnection, req)
