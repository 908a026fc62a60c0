"""HLS playlists on disk, whose segments FFmpeg would wait for where they do not end."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MARK, _MOST_BYTES = b"#EXTM3U", 16 << 20
# how sound and subtitles name their playlists; pictures have lines of their own
_URI = re.compile(rb'URI="([^"]+)"')


def endless_playlist(path: Path) -> Path | None:
    """Find the playlist without an end that a file is, or names; None for any other file."""
    return next((one for one in (path, *_playlists_of(path)) if _is_endless(_playlist(one))), None)


def _playlist(path: Path) -> bytes:
    """The text of a playlist behind its mark, nothing of another file, or of one that FFmpeg will not open either."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES) if file.read(len(_MARK)) == _MARK else b""
    except OSError:
        return b""


def _playlists_of(path: Path) -> list[Path]:
    """The files beside it that a playlist of playlists names."""
    playlist = _playlist(path)
    if b"#EXT-X-STREAM-INF" not in playlist:
        return []
    lines = [line.strip() for line in playlist.splitlines()]
    uris = [uri for line in lines for uri in (_URI.findall(line) if line.startswith(b"#") else [line]) if uri]
    # of a name that no file can have os.path says that there is none, pathlib raises
    return [path.parent / name for name in map(os.fsdecode, uris) if os.path.isfile(path.parent / name)]


def _is_endless(playlist: bytes) -> bool:
    return b"#EXT-X-TARGETDURATION" in playlist and b"#EXT-X-ENDLIST" not in playlist
