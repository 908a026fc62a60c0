"""One rule for addresses: what is handed over as a video or a frame, brought to what can be opened."""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from http.client import HTTPException
from os import PathLike
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes
from urllib.request import Request, urlopen

from framegate.errors import CapError, VideoError, VideoNotFoundError
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip.public_address import public_opener

# of a server that says nothing
FETCH_TIMEOUT_SECONDS, FETCH_LONGEST_SECONDS = 30.0, 600.0
FETCH_MOST_BYTES = 2 << 30
# file systems take no longer name; messages show no more of one
NAME_MOST_BYTES = 255
_SHOWN_CHARACTERS = 60
_CHUNK_BYTES = 1 << 20
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# RFC 8089 lets the slashes before a host that is not named be left out: file:/folder/name.mp4
_FILE, _HOST, _LOCALHOST, _DATA = "file:/", "//", "localhost/", "data:"
# what a server answers where a page, a playlist or a stream without an end stands in place of a file
_NO_FILE = ("text/", "multipart/", "mpegurl", "dash+xml")
WHAT_WORKS = (
    "give a path, a file:// address, 'data:video/mp4;base64,...', the file's bytes or an open file; bare base64 is "
    "decoded first (base64.b64decode)"
)


class Content(bytes):
    """What an address holds, with the address, for messages."""

    address = ""


def located(source: Any) -> Any:
    """Bring one spelling of a source to what FFmpeg or Pillow opens; nothing is fetched.

    Args:
        source: path, which wins over any other reading where it exists; file:// (or file:/) address, plain or
            percent-encoded; data: address; bytes or an open file; anything else passes as it is.

    Returns:
        A path, bytes, another address, or the source itself.

    Raises:
        VideoNotFoundError: a file:// address without a file, or a name that no file can have, as bare base64.
        VideoError: a data: address that is not whole, or an open file that gives no bytes.
    """
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if callable(getattr(source, "read", None)):
        return _content(source)
    if not isinstance(source, str | PathLike):
        return source
    name = checked_name(source)
    if os.path.exists(name):
        # FFmpeg takes what stands before a colon for a protocol, but not behind a slash
        return os.path.abspath(name) if ":" in name else source
    if name.lower().startswith(_FILE):
        return _file_of(name)
    if name.lower().startswith(_DATA):
        return _data_of(name)
    if scheme := SCHEME.match(name):
        # FFmpeg knows its protocols by small letters
        return scheme.group().lower() + name[scheme.end() :]
    if len(os.fsencode(name)) > NAME_MOST_BYTES:
        raise VideoNotFoundError(
            f"There is no file {shown(name)}, and hardly can be, by a name of {len(name):,} characters; {WHAT_WORKS}."
        )
    return source


def checked_name(source: str | PathLike[str]) -> str:
    """A path or an address as text; VideoNotFoundError for what is the name of nothing, and would be cut or fail."""
    name = os.fsdecode(source)
    if not name:
        raise VideoNotFoundError(f"The address is empty; {WHAT_WORKS}.")
    if "\0" in name:
        raise VideoNotFoundError(f"There is nothing at {shown(name)}: no name holds a NUL; {WHAT_WORKS}.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as problem:
        raise VideoNotFoundError(
            f"There is nothing at {shown(name)}: that is no name of a file ({problem.reason}); {WHAT_WORKS}."
        ) from None
    return name


def fetched(source: Any, caps: Caps = NO_CAPS) -> Any:
    """Bring a source to what is opened as a file, as `located`; what an http(s) address holds is downloaded.

    Raises:
        VideoError: the network or the server does not give it, or it is a page, a playlist or a live stream.
        CapError: it is larger than the caps allow, or named from outside and not public.
    """
    if caps.public_only and isinstance(source, str | PathLike) and not _is_public(source):
        # whether there is such a file is nobody's business out there
        caps.check_file(source, shown(source))
    found = located(source)
    if isinstance(found, str) and found.startswith(("http://", "https://")):
        return _download(found, caps)
    if isinstance(found, bytes):
        caps.check_bytes(len(found), shown(source))
    elif isinstance(found, str | PathLike):
        caps.check_file(found, shown(source))
    return found


def _is_public(source: str | PathLike[str]) -> bool:
    """True of the spellings that name no file of this machine."""
    return os.fsdecode(source).lower().startswith(("http://", "https://", _DATA))


def shown(source: Any) -> str:
    """Name a source in a message without its payload: bytes by their number, a long address by its beginning."""
    if isinstance(source, Content):
        return shown(source.address)
    if isinstance(source, bytes):
        return f"<{len(source):,} bytes>"
    if not isinstance(source, str | PathLike):
        return f"<{type(source).__name__}>"
    name = os.fsdecode(source)
    if len(name) <= NAME_MOST_BYTES:
        return repr(name)
    return f"{name[:_SHOWN_CHARACTERS]!r}... ({len(name):,} characters)"


def brief(address: str) -> str:
    """An address as notes and plans keep it: without its query, which may be signed, and no longer than a name."""
    place, mark, _ = address.partition("?")
    shortened = place if len(place) <= NAME_MOST_BYTES else f"{place[:_SHOWN_CHARACTERS]}..."
    return f"{shortened}{mark and '?...'}"


def _file_of(name: str) -> str:
    """The path of a file: address: as it is written, else percent-decoded."""
    rest = name[len(_FILE) - 1 :]
    if rest.startswith(_HOST):
        rest = rest[len(_HOST) :]
        if rest.lower().startswith(_LOCALHOST):
            rest = rest[len(_LOCALHOST) - 1 :]
    for path in (rest, unquote(rest)):
        if os.path.exists(path):
            return os.path.abspath(path)
    raise VideoNotFoundError(
        f"There is no file at {shown(unquote(rest))}, which {shown(name)} names; a file:// address holds a path of "
        "this machine, file:///folder/name.mp4."
    )


def _data_of(address: str) -> bytes:
    head, comma, payload = address.partition(",")
    if not comma:
        raise VideoError(f"{shown(address)} has no ',' before its data; give 'data:video/mp4;base64,...'.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode("".join(unquote(payload).split()), validate=True)
    except binascii.Error as problem:
        raise VideoError(
            f"The data of {shown(address)} is no base64 ({problem}); encode the file again."
        ) from None


def _content(file: Any) -> bytes:
    """All of an open file, which is left where it stood."""
    try:
        can_seek = getattr(file, "seekable", lambda: False)()
        place = file.tell() if can_seek else None
        if can_seek:
            file.seek(0)
        content = file.read()
        if can_seek:
            file.seek(place)
    except (OSError, ValueError) as problem:
        raise VideoError(
            f"An open {type(file).__name__} cannot be read ({problem}); open it again, with mode 'rb', or give its "
            "path."
        ) from problem
    if not isinstance(content, bytes):
        raise VideoError(
            f"An open {type(file).__name__} gives {type(content).__name__}, not bytes; open it with mode 'rb'."
        )
    return content


def _download(address: str, caps: Caps) -> Content:
    # spaces and letters beyond ASCII as browsers send them; what is encoded already stays
    request = Request(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": "framegate"})
    content, ends = bytearray(), time.monotonic() + FETCH_LONGEST_SECONDS
    open_address = public_opener().open if caps.public_only else urlopen
    try:
        with open_address(request, timeout=FETCH_TIMEOUT_SECONDS) as answer:
            kind = answer.headers.get_content_type()
            if any(part in kind for part in _NO_FILE):
                raise VideoError(
                    f"{shown(address)} answers with {kind}, not with a video file; give the file's address. A live "
                    "stream is opened with framegate.open_video and gated with framegate.gate_stream."
                )
            promised = int(answer.headers.get("Content-Length") or 0)
            caps.check_bytes(promised, shown(address))
            while part := answer.read1(_CHUNK_BYTES):
                content += part
                caps.check_bytes(len(content), shown(address))
                if time.monotonic() > ends:
                    raise VideoError(
                        f"{shown(address)} took more than {FETCH_LONGEST_SECONDS:g} seconds for {len(content):,} "
                        "bytes; download it and give the path."
                    )
                if len(content) > FETCH_MOST_BYTES:
                    raise VideoError(
                        f"{shown(address)} sends more than {FETCH_MOST_BYTES:,} bytes; download it and give the path."
                    )
            if len(content) < promised:
                raise VideoError(
                    f"{shown(address)} broke off: {len(content):,} of {promised:,} bytes came; try again, or download "
                    "it and give the path."
                )
    except (VideoError, CapError):
        raise
    except (OSError, ValueError, HTTPException) as problem:
        raise VideoError(
            f"{shown(address)} cannot be fetched ({problem}); check the address and the network, or download it and "
            "give the path."
        ) from problem
    whole = Content(content)
    whole.address = address
    return whole
