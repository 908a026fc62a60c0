"""Asks about a script: every kind of question is one function that draws a question and knows its answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from framegate.tools.evaluation.generator.script import (
    GLIDE_SECONDS,
    GRID_NAMES,
    Script,
    Shown,
    Stop,
    fresh_code,
)

NOTHING = "nothing"
_TRIES = 40
Span = TypeVar("Span", Shown, Stop)


@dataclass(frozen=True)
class Asked:
    """A question with its exact answer.

    Args:
        kind: as in KINDS.
        question, answer: in words.
        time_seconds: the time it asks about, None where it asks about none.
        stands_seconds: how long the text that is asked about stands, None where none is.
    """

    kind: str
    question: str
    answer: str
    time_seconds: float | None = None
    stands_seconds: float | None = None


def ask_about(script: Script, seed: int, kinds: tuple[str, ...], count: int) -> list[Asked]:
    """Ask about a video, kinds in turn and no question twice; fewer than `count` where it gives no more."""
    rng = np.random.default_rng((seed, 7))
    asked: dict[str, Asked] = {}
    for attempt in range(3 * count):
        if len(asked) == count:
            break
        question = _MAKERS[kinds[attempt % len(kinds)]](script, rng)
        if question is not None:
            asked.setdefault(question.question, question)
    return list(asked.values())


def inner_time(rng: np.random.Generator, start: float, end: float) -> float | None:
    """A tenth of a second inside a span, clear of its ends by a quarter of it or a quarter of a second."""
    margin = min(0.25, (end - start) / 4)
    low, high = int(np.ceil((start + margin) * 10)), int(np.floor((end - margin) * 10))
    return int(rng.integers(low, high + 1)) / 10 if low <= high else None


def _once(script: Script) -> list[Shown]:
    """Texts that do not come back: of these alone "when" and "first" have one meaning."""
    times = Counter(shown.text for shown in script.texts)
    return [shown for shown in script.texts if times[shown.text] == 1]


def _text_at(script: Script, rng: np.random.Generator) -> Asked | None:
    shown = script.texts[int(rng.integers(len(script.texts)))]
    time = inner_time(rng, shown.start_seconds, shown.end_seconds)
    if time is None:
        return None
    stands = shown.end_seconds - shown.start_seconds
    return Asked("text_at", f"What text stands at {time:.1f} seconds?", shown.text, time, stands)


def _when(script: Script, rng: np.random.Generator) -> Asked | None:
    once = _once(script)
    if not once:
        return None
    shown = once[int(rng.integers(len(once)))]
    stands = shown.end_seconds - shown.start_seconds
    return Asked(
        "when", f"When does {shown.text} appear?", f"{shown.start_seconds:.1f}", stands_seconds=stands
    )


def _order(script: Script, rng: np.random.Generator) -> Asked | None:
    once = _once(script)
    if len(once) < 2:
        return None
    first, second = sorted(rng.choice(len(once), 2, replace=False))
    pair = [once[first].text, once[second].text]
    one, other = pair if rng.random() < 0.5 else pair[::-1]
    return Asked("order", f"Which appears first, {one} or {other}?", pair[0])


def _neighbour(script: Script, rng: np.random.Generator) -> Asked | None:
    """The text next to one that stands once, before or after it."""
    way = "before" if rng.random() < 0.5 else "after"
    names = [shown.text for shown in script.texts]
    inner = names[1:] if way == "before" else names[:-1]
    once = [text for text in inner if names.count(text) == 1]
    if not once:
        return None
    text = once[int(rng.integers(len(once)))]
    place = names.index(text) + (-1 if way == "before" else 1)
    return Asked("neighbour", f"What text stands {way} {text}?", names[place])


def _count(script: Script, rng: np.random.Generator) -> Asked | None:
    return Asked("count", "How many texts appear?", str(len({shown.text for shown in script.texts})))


def _appears(script: Script, rng: np.random.Generator) -> Asked | None:
    """Half of the texts asked about are nowhere in the video."""
    texts = {shown.text for shown in script.texts}
    there = bool(rng.random() < 0.5)
    text = sorted(texts)[int(rng.integers(len(texts)))] if there else fresh_code(rng, set(texts))
    return Asked("appears", f"Does {text} appear?", "yes" if there else "no")


def _grid(script: Script, rng: np.random.Generator) -> Asked | None:
    if not script.stops:
        return None
    stop = script.stops[int(rng.integers(len(script.stops)))]
    time = inner_time(rng, stop.start_seconds, stop.end_seconds)
    if time is None or time < stop.start_seconds + GLIDE_SECONDS:
        return None
    row, column = stop.place
    return Asked("grid", f"Where is the marker at {time:.1f} seconds?", GRID_NAMES[row][column], time)


def _changed(script: Script, rng: np.random.Generator) -> Asked | None:
    """Two times between which one thing changed, or nothing; not asked where the background moves all the time."""
    if not script.look.is_still:
        return None
    kinds = ["the text", NOTHING]
    kinds += ["the marker"] if len(script.stops) > 1 else []
    kinds += ["the background"] if len(script.look.background_starts) > 1 else []
    wanted = kinds[int(rng.integers(len(kinds)))]
    for _ in range(_TRIES):
        first, second = sorted(round(float(time), 1) for time in rng.uniform(0, script.duration_seconds, 2))
        if second - first < 0.5:
            continue
        before, after = _state(script, first), _state(script, second)
        if before is None or after is None:
            continue
        differ = [name for name, value in before.items() if after[name] != value]
        if (differ or [NOTHING]) == [wanted]:
            return Asked(
                "changed", f"What changed between {first:.1f} and {second:.1f} seconds?", wanted, second
            )
    return None


def _state(script: Script, time: float) -> dict[str, str | tuple[int, int] | int] | None:
    """What can be seen at a time, by name; None near the moment at which something changes."""
    text = _standing(script.texts, time)
    stop = _standing(script.stops, time)
    starts = script.look.background_starts
    edges = [*starts[1:]]
    for one in (text, stop):
        edges += [] if one is None else [one.start_seconds, one.end_seconds]
    if stop is not None and time < stop.start_seconds + GLIDE_SECONDS:
        return None
    if text is None or any(abs(time - edge) < 0.13 for edge in edges):
        return None
    return {
        "the text": text.text,
        "the marker": (-1, -1) if stop is None else stop.place,
        "the background": sum(start <= time for start in starts),
    }


def _standing(spans: tuple[Span, ...], time: float) -> Span | None:
    return next((one for one in spans if one.start_seconds <= time < one.end_seconds), None)


_MAKERS = {
    "text_at": _text_at,
    "when": _when,
    "order": _order,
    "neighbour": _neighbour,
    "changed": _changed,
    "count": _count,
    "appears": _appears,
    "grid": _grid,
}
KINDS = tuple(_MAKERS)
