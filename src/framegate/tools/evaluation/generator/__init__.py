"""Renders dense video and asks about it, into a folder that `framegate eval` reads; the script holds the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from framegate.errors import ConfigError, nearest
from framegate.notebook import no_bar
from framegate.tools.evaluation.generator.asking import KINDS, ask_about
from framegate.tools.evaluation.generator.render import Pixels, Renderer
from framegate.tools.evaluation.generator.script import NATIVE_FPS, SIZES_PX, Script, write_script
from framegate.tools.evaluation.questions import QUESTIONS_NAME, VIDEOS_NAME

# x264's quality, from 0 (lossless) to 51: letters keep clean edges
_CRF = 14
MIXED = "mixed"
# long enough for a text to be asked about
SHORTEST_SECONDS = 0.5
CELL_PX = 32


def write_dataset(
    folder: str | Path,
    *,
    split: str = "test",
    videos: int = 40,
    seed: int = 0,
    questions: int = 8,
    kinds: Sequence[str] = KINDS,
    duration_seconds: float = 8.0,
    longest_seconds: float | None = None,
    size: str = "4x6",
    clips: Sequence[str | Path] = (),
    pace: str | None = None,
    show_progress: bool = True,
) -> Path:
    """Render videos and write what is asked about them.

    Args:
        folder: gets `videos/*.mp4` and `questions.jsonl`; must not hold questions yet.
        split: "train", "validation" or "test": whose fonts and backgrounds are taken.
        videos: how many.
        seed: the same seed and settings write the same questions and draw the same frames.
        questions: about each video, at most.
        kinds: of question, drawn in turn.
        duration_seconds: of every video, or of the shortest one.
        longest_seconds: lengths are drawn up to this; None gives all the same.
        size: of frames, by rows and columns of 32-px cells, as in SIZES_PX; "mixed" draws one for every video.
        clips: files of real video; every third video has one of them as its background.
        pace: how fast texts change ("slow", "medium", "fast" or "rapid"); None draws all but the last.
        show_progress: draw a progress bar on a terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder holds questions already, an unknown split, size, kind or pace, no kind, or a number
            out of range.
        VideoError: a clip cannot be read.

    Source: ours, after the questions of DIVE (arXiv 2509.14199).
    """
    from tqdm.auto import tqdm

    longest_seconds = duration_seconds if longest_seconds is None else longest_seconds
    _check(kinds, size, (duration_seconds, longest_seconds), videos=videos, questions=questions)
    rng = np.random.default_rng((seed, 5))
    sizes_px = list(SIZES_PX.values()) if size == MIXED else [SIZES_PX[size]]
    folder = Path(folder)
    if (folder / QUESTIONS_NAME).exists():
        raise ConfigError(f"{folder} holds questions already; name another folder or remove it.")
    (folder / VIDEOS_NAME).mkdir(parents=True, exist_ok=True)
    backgrounds = _ClipFrames(clips)
    lines: list[str] = []
    for number in tqdm(range(videos), unit="video", disable=no_bar(show_progress)):
        written = write_script(
            seed * 100_003 + number,
            split=split,
            pace=pace,
            duration_seconds=round(rng.uniform(duration_seconds, longest_seconds) * NATIVE_FPS) / NATIVE_FPS,
            size_px=sizes_px[0] if len(sizes_px) == 1 else sizes_px[rng.integers(len(sizes_px))],
        )
        script, clip = _with_clip(written, number, backgrounds)
        name = f"{split}-{seed}-{number:04d}.mp4"
        write_video(folder / VIDEOS_NAME / name, Renderer(script, clip))
        lines += [json.dumps(line) for line in _lines(name, script, questions, tuple(kinds))]
    (folder / QUESTIONS_NAME).write_text("\n".join(lines) + "\n")
    return folder


def _check(
    kinds: Sequence[str], size: str, lengths_seconds: tuple[float, float], *, videos: int, questions: int
) -> None:
    if not kinds:
        raise ConfigError(f"No kind of question is named. Known: {', '.join(KINDS)}.")
    if unknown := set(kinds) - set(KINDS):
        raise ConfigError(f"Unknown kinds of question {sorted(unknown)}. Known: {', '.join(KINDS)}.")
    for name, count in (("videos", videos), ("questions", questions)):
        if count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1.")
    if size not in (*SIZES_PX, MIXED):
        raise ConfigError(f"Unknown size {size!r}. {nearest(size, (*SIZES_PX, MIXED))}")
    if not SHORTEST_SECONDS <= lengths_seconds[0] <= lengths_seconds[1] < float("inf"):
        raise ConfigError(
            f"Lengths are {lengths_seconds[0]} to {lengths_seconds[1]} seconds; they must rise from at least "
            f"{SHORTEST_SECONDS:g}."
        )


def write_video(path: Path, renderer: Renderer) -> None:
    """Encode a script's frames as H.264 at its native rate into an MP4."""
    import av

    script = renderer.script
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=NATIVE_FPS, options={"crf": str(_CRF), "preset": "medium"}
        )
        stream.width, stream.height, stream.pix_fmt = script.width_px, script.height_px, "yuv420p"
        stream.time_base = Fraction(1, NATIVE_FPS)
        for index in range(round(script.duration_seconds * NATIVE_FPS)):
            frame = av.VideoFrame.from_ndarray(renderer.frame(index / NATIVE_FPS), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _ClipFrames:
    """Frames of real clips at the native rate and the size of a script, each clip read once."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = [Path(path) for path in paths]
        self._read: dict[tuple[int, tuple[int, int]], Pixels] = {}

    def of(self, index: int, script: Script) -> Pixels:
        key = index % len(self.paths), (script.width_px, script.height_px)
        if key not in self._read:
            self._read[key] = clip_frames(self.paths[key[0]], key[1], script.duration_seconds)
        return self._read[key]


def clip_frames(path: Path, size_px: tuple[int, int], duration_seconds: float) -> Pixels:
    """Read what a clip shows at every tick of the native rate.

    Args:
        path: of the clip.
        size_px: width and height that its frames are brought to.
        duration_seconds: longest part that is read, from its beginning.

    Returns:
        uint8 [F, h, w, 3], RGB; the renderer plays it over and over.

    Raises:
        VideoError: it cannot be read.
    """
    from framegate.tokenizers.clip import open_video

    times, pixels = [], []
    with open_video(path) as stream:
        for frame in stream.frames(size_px=size_px[::-1]):
            if frame.timestamp_seconds >= duration_seconds:
                break
            times.append(frame.timestamp_seconds)
            pixels.append(frame.pixels)
        seconds = min(duration_seconds, stream.info.duration_seconds)
    ticks = np.arange(max(round(seconds * NATIVE_FPS), 1)) / NATIVE_FPS
    standing = np.searchsorted(times, ticks + 1e-6, side="right") - 1
    return np.stack([pixels[max(place, 0)] for place in standing])


def _with_clip(script: Script, number: int, clips: _ClipFrames) -> tuple[Script, Pixels | None]:
    if not clips.paths or number % 3:
        return script, None
    look = replace(script.look, background="clip", style="box")
    return replace(script, look=look), clips.of(number // 3, script)


def _lines(name: str, script: Script, questions: int, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    look = script.look
    meta = {
        "font": look.font,
        "background": look.background,
        "pace": script.pace,
        "size": f"{script.height_px // CELL_PX}x{script.width_px // CELL_PX}",
        "split": script.split,
        "camera": "moving" if not look.is_still else "still" if len(look.background_starts) == 1 else "cuts",
    }
    return [
        {
            "id": f"{Path(name).stem}-{asked.kind}-{place}",
            "video": name,
            "question": asked.question,
            "answer": asked.answer,
            "kind": asked.kind,
            "time_seconds": asked.time_seconds,
            "meta": meta if asked.stands_seconds is None else meta | {"stands_seconds": asked.stands_seconds},
        }
        for place, asked in enumerate(ask_about(script, script.seed, kinds, questions))
    ]
