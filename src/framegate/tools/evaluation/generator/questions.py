"""Questions about a script, with the answers that the script itself holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from framegate.tools.evaluation.generator.script import GLIDE_SECONDS, GRID_NAMES, Script

KINDS = ("text_at", "when", "order", "count", "grid")


@dataclass(frozen=True)
class Asked:
    """A question with its exact answer; the time it asks about, None where it asks about none."""

    kind: str
    question: str
    answer: str
    time_seconds: float | None = None


def ask_about(script: Script, seed: int, kinds: tuple[str, ...], count: int) -> list[Asked]:
    """Ask about a video.

    Args:
        script: what happens in it.
        seed: of the choice of questions.
        kinds: of KINDS, to draw from in turn.
        count: how many; fewer where the video gives no more of these kinds.

    Returns:
        Questions with answers, no question twice.

    Source: ours.
    """
    rng = np.random.default_rng((seed, 7))
    asked: dict[str, Asked] = {}
    for attempt in range(3 * count):
        if len(asked) == count:
            break
        question = _MAKERS[kinds[attempt % len(kinds)]](script, rng)
        if question is not None:
            asked.setdefault(question.question, question)
    return list(asked.values())


def _inner_time(rng: np.random.Generator, start: float, end: float) -> float | None:
    """A tenth of a second inside a span, clear of its ends by a quarter of it or a quarter of a second."""
    margin = min(0.25, (end - start) / 4)
    low, high = int(np.ceil((start + margin) * 10)), int(np.floor((end - margin) * 10))
    return int(rng.integers(low, high + 1)) / 10 if low <= high else None


def _text_at(script: Script, rng: np.random.Generator) -> Asked | None:
    shown = script.texts[int(rng.integers(len(script.texts)))]
    time = _inner_time(rng, shown.start_seconds, shown.end_seconds)
    if time is None:
        return None
    return Asked("text_at", f"What text stands at {time:.1f} seconds?", shown.text, time)


def _when(script: Script, rng: np.random.Generator) -> Asked | None:
    shown = script.texts[int(rng.integers(len(script.texts)))]
    return Asked("when", f"When does {shown.text} appear?", f"{shown.start_seconds:.1f}")


def _order(script: Script, rng: np.random.Generator) -> Asked | None:
    if len(script.texts) < 2:
        return None
    first, second = sorted(rng.choice(len(script.texts), 2, replace=False))
    pair = [script.texts[first].text, script.texts[second].text]
    one, other = pair if rng.random() < 0.5 else pair[::-1]
    return Asked("order", f"Which appears first, {one} or {other}?", pair[0])


def _count(script: Script, rng: np.random.Generator) -> Asked | None:
    return Asked("count", "How many texts appear?", str(len(script.texts)))


def _grid(script: Script, rng: np.random.Generator) -> Asked | None:
    if not script.stops:
        return None
    stop = script.stops[int(rng.integers(len(script.stops)))]
    time = _inner_time(rng, stop.start_seconds, stop.end_seconds)
    if time is None or time < stop.start_seconds + GLIDE_SECONDS:
        return None
    row, column = stop.place
    return Asked("grid", f"Where is the marker at {time:.1f} seconds?", GRID_NAMES[row][column], time)


_MAKERS = {"text_at": _text_at, "when": _when, "order": _order, "count": _count, "grid": _grid}
