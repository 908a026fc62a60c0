"""How right an answer is: exact match, error rates of characters and words, token F1, places of a grid, times."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

# what an answer in seconds may be off and still count as correct; ours
TIME_TOLERANCE_SECONDS = 0.5
_CLOCK = re.compile(r"(?<![\d:.])(?:(\d+):)?(\d+):(\d{2}(?:\.\d+)?)(?![\d:])")
# digits of a word, as in the code 7KP, are no time; a unit may follow them
_NUMBER = re.compile(
    r"(?<![a-z0-9.])[-+]?\d++(?:\.\d++)?+(?=s(?:ec(?:ond)?s?)?\b|[^a-z0-9]|$)", re.IGNORECASE
)

Scores = dict[str, float | None]


def score(kind: str, prediction: str, answer: str) -> Scores:
    """Score one answer by the metrics of its kind.

    Text is compared in lower case with runs of white space as one blank; punctuation counts. Every kind has
    `correct`, 0 or 1: the exact match; for "grid" the cell; for "when" a time at most half a second off.

    Args:
        kind: "when" (a time in seconds), "grid" (a cell of a 3 x 3 grid); any other is text.
        prediction: what the model said; "" for an error.
        answer: the right answer.

    Returns:
        Metric to value. Text: exact_match, cer, wer, token_f1. "grid": grid_accuracy. "when": time_error_seconds
        (None where the answer holds no time), time_missing, within_half_second.

    Source: CER, WER and token F1 as DIVE defines them (arXiv 2509.14199 and its release notes); the rest ours.
    """
    if kind == "when":
        return _time_scores(prediction, answer)
    if kind == "grid":
        right = float(cell_in(prediction) == cell_in(answer))
        return {"correct": right, "grid_accuracy": right}
    exact = float(normalised(prediction) == normalised(answer))
    return {
        "correct": exact,
        "exact_match": exact,
        "cer": error_rate(normalised(prediction), normalised(answer)),
        "wer": error_rate(normalised(prediction).split(), normalised(answer).split()),
        "token_f1": token_f1(prediction, answer),
    }


def check_answer(kind: str, answer: str) -> str:
    """Return an answer that its kind can be scored against.

    Raises:
        ValueError: "when" without a time, "count" without a whole number, "grid" without a cell.
    """
    if kind == "when" and parse_seconds(answer) is None:
        raise ValueError(f'answer is {answer!r}; of kind "when" it must be a time in seconds, as "3.2".')
    if kind == "count" and not answer.strip().isdecimal():
        raise ValueError(f'answer is {answer!r}; of kind "count" it must be a whole number, as "4".')
    if kind == "grid" and cell_in(answer) is None:
        raise ValueError(
            f'answer is {answer!r}; of kind "grid" it must be one cell, as "top left" or "centre".'
        )
    return answer


def normalised(text: str) -> str:
    """Lower case, with runs of white space as one blank."""
    return " ".join(text.lower().split())


def error_rate(prediction: Sequence[str], answer: Sequence[str]) -> float:
    """Levenshtein distance of characters or words over the length of the right answer; may exceed 1."""
    return edit_distance(prediction, answer) / max(len(answer), 1)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn one sequence into the other."""
    numbers = {part: number for number, part in enumerate(dict.fromkeys((*one, *other)))}
    target = np.array([numbers[part] for part in other], np.int64)
    steps = np.arange(len(target) + 1)
    row = steps.copy()
    for place, part in enumerate(one, 1):
        replaced = np.minimum(row[:-1] + (target != numbers[part]), row[1:] + 1)
        # insertions run along the row: the least of all cheaper ones to the left, plus the way from there
        row = np.minimum.accumulate(np.concatenate([[place], replaced]) - steps) + steps
    return int(row[-1])


def token_f1(prediction: str, answer: str) -> float:
    """F1 of the two multisets of words; 1 for two empty texts."""
    said, right = normalised(prediction).split(), normalised(answer).split()
    if not said or not right:
        return float(said == right)
    shared = (Counter(said) & Counter(right)).total()
    return 2 * shared / (len(said) + len(right))


def parse_seconds(text: str) -> float | None:
    """Read the first time in a text, as 3.2, 3.2s, 1:03.5 or 1:02:03; None where there is none."""
    clock = _CLOCK.search(text)
    if clock:
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
    number = _NUMBER.search(text)
    return float(number.group()) if number else None


def _time_scores(prediction: str, answer: str) -> Scores:
    said, right = parse_seconds(prediction), parse_seconds(answer)
    assert right is not None
    error = None if said is None else abs(said - right)
    near = float(
        error is not None and (error < TIME_TOLERANCE_SECONDS or math.isclose(error, TIME_TOLERANCE_SECONDS))
    )
    return {
        "correct": near,
        "within_half_second": near,
        "time_error_seconds": error,
        "time_missing": float(error is None),
    }


_MIDDLE = {"middle": 2, "center": 2, "centre": 2}
_ROWS = {"top": 1, "upper": 1, "bottom": 3, "lower": 3, **_MIDDLE}
_COLUMNS = {"left": 1, "right": 3, **_MIDDLE}
_CELL = re.compile(
    r"\br(?P<row>[1-3])\s*c(?P<column>[1-3])\b"
    r"|\b(?P<side>left|right)[\s_-]*(?P<above>ROWS)\b"
    r"|\b(?P<vertical>ROWS)[\s_-]*(?P<horizontal>COLUMNS)\b"
    r"|\b(?P<alone>ROWS|COLUMNS)\b".replace("ROWS", "|".join(_ROWS)).replace("COLUMNS", "|".join(_COLUMNS))
)


def cell_in(text: str) -> tuple[int, int] | None:
    """Find row and column, 1 to 3, of the one cell that a text names ("top left", "r2c3"); None for none or several."""
    named = {_cell(match.groupdict()) for match in _CELL.finditer(text.lower())}
    return named.pop() if len(named) == 1 else None


def _cell(part: dict[str, str | None]) -> tuple[int, int]:
    if part["row"]:
        return int(part["row"]), int(part["column"] or 0)
    row = part["above"] or part["vertical"] or part["alone"] or ""
    column = part["side"] or part["horizontal"] or part["alone"] or ""
    return _ROWS.get(row, 2), _COLUMNS.get(column, 2)
