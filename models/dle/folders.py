"""Public anti-spoofing sets as they are unpacked: which videos, whether genuine, and for what.

Written after the sets' public descriptions; the videos themselves are given out under licence and were not at hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from framegate.errors import ConfigError, VideoNotFoundError

Split = Literal["train", "development", "test"]


@dataclass(frozen=True, kw_only=True)
class SpoofVideo:
    """A video of an anti-spoofing set.

    Args:
        path: of the file.
        is_genuine: a live face, no replay, print or mask.
        source: name of the set.
        split: what it is for; None where the set does not say.
        subject: who is shown; "" where the name of the file does not say.
    """

    path: Path
    is_genuine: bool
    source: str
    split: Split | None
    subject: str


# set -> the path of a video in it, and the kinds that are genuine. A copy that was sorted by hand into
# train/real, test/attack and so on reads as Replay-Attack.
_LAYOUTS = {
    "oulu_npu": (
        r"(?P<split>Train|Dev|Test)_files/(?:\d+_){2}(?P<subject>\d+)_(?P<kind>\d)\.avi",
        {"1"},
    ),
    "casia_fasd": (
        r"(?P<split>train|test)_release/(?P<subject>\d+)/(?P<kind>(?:HR_)?\d)\.avi",
        {"1", "2", "HR_1"},
    ),
    "replay_attack": (
        r"(?P<split>train|devel|dev|test)/(?P<kind>real|attack)/(?:.*/)?(?:.*client(?P<subject>\d+)_)?[^/]*\.\w+",
        {"real"},
    ),
    "msu_mfsd": (
        r"(?P<split>)(?P<kind>real|attack)/(?:real|attack)_client(?P<subject>\d+)_[^/]*\.\w+",
        {"real"},
    ),
}
_SPLITS: dict[str, Split] = {"train": "train", "dev": "development", "devel": "development", "test": "test"}
_VIDEOS = {".avi", ".mov", ".mp4", ".mkv"}


def read_spoof_folder(folder: str | Path, *, source: str | None = None) -> list[SpoofVideo]:
    """List the videos of an unpacked anti-spoofing set: OULU-NPU, CASIA-FASD, Replay-Attack or MSU-MFSD.

    Args:
        folder: of the set; its videos may lie deeper.
        source: name to give to the set; None for that of its layout.

    Returns:
        Videos in order of path, without those that the layout has no place for (Replay-Attack's enrolment).

    Raises:
        VideoNotFoundError: no such folder, or no video in it.
        ConfigError: videos of no known layout, or of several; the message shows one and the layouts.
    """
    root = Path(folder)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _VIDEOS)
    if not paths:
        raise VideoNotFoundError(f"{str(folder)!r} is no folder with videos ({', '.join(sorted(_VIDEOS))}).")
    known: dict[Path, str] = {}
    best: list[SpoofVideo] = []
    for name, (pattern, genuine) in _LAYOUTS.items():
        search = re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)
        found = []
        for path in paths:
            match = search.search(path.relative_to(root).as_posix())
            if match is not None:
                known.setdefault(path, name)
                split = _SPLITS.get(match["split"].lower())
                found.append(
                    SpoofVideo(
                        path=path,
                        is_genuine=match["kind"].upper() in {kind.upper() for kind in genuine},
                        source=source or name,
                        split=split,
                        subject=match["subject"] or "",
                    )
                )
        if len(found) > len(best):
            best, layout = found, name
    if not best:
        raise ConfigError(
            f"{str(paths[0].relative_to(root))!r} in {str(folder)!r} fits no known layout: Train_files/1_1_01_1.avi "
            "(OULU-NPU), train_release/1/HR_1.avi (CASIA-FASD), train/real/*.mov (Replay-Attack and sorted copies), "
            "real/real_client001_*.mov (MSU-MFSD)."
        )
    for path in sorted(known.keys() - {video.path for video in best}):
        raise ConfigError(
            f"{str(path.relative_to(root))!r} in {str(folder)!r} has the layout of {known[path]}, others there that of "
            f"{layout}: give the folder of each set by itself."
        )
    return best
