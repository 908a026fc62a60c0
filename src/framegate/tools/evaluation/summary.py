"""Results in numbers: metrics per kind with intervals over videos, costs, two runs compared, and a summary CSV.

Intervals are percentiles of a bootstrap over videos: answers about one video are not independent of each other. The CSV
has a row per run, kind and metric, and is added to, never written over.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from framegate.errors import ConfigError
from framegate.tools.evaluation.results import Results

# at 2000 the ends of an interval still move by a tenth of its width from seed to seed
RESAMPLES = 10_000
LEVEL = 0.95
Float64Array = np.ndarray[Any, np.dtype[np.float64]]
ALL_KINDS = "all"
METRICS = (
    "correct",
    "exact_match",
    "cer",
    "wer",
    "token_f1",
    "grid_accuracy",
    "within_half_second",
    "time_error_seconds",
    "time_missing",
)
COLUMNS = (
    *("model", "preset", "settings", "tower_ratio", "keep_ratio", "fps"),
    *("kind", "n", "metric", "value", "low", "high"),
    *(
        "tokens_dense",
        "cells_encoded",
        "tokens_kept",
        "input_seconds",
        "first_token_seconds",
        "generate_seconds",
    ),
    *("errors", "seed", "commit", "command"),
)
# of two equal runs these may still differ
_PROVENANCE = ("commit", "command")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one kind.

    Args:
        kind: of question, "all" for every one.
        metric: see `metrics.score`.
        n: questions, those with an error among them.
        errors: questions with an error; they count as an empty answer.
        estimate: mean over questions, with its interval over videos.
        costs: of the questions that were answered, by column: mean tokens, median seconds; empty where none was.
    """

    kind: str
    metric: str
    n: int
    errors: int
    estimate: Estimate
    costs: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of one kind in two runs, over the same questions.

    Args:
        kind: of question, "all" for every one.
        metric: that was compared.
        n: questions.
        difference: mean of the run minus the base.
        ratio: mean of the run over that of the base.
    """

    kind: str
    metric: str
    n: int
    difference: Estimate
    ratio: Estimate


def summarise(results: Results, *, seed: int = 0, resamples: int = RESAMPLES) -> list[Figure]:
    """Sum up a run: every metric of every kind, and how many of all answers were correct.

    Args:
        results: of `evaluate` or `read_results`.
        seed: of the resampling.
        resamples: number of resamples of the videos.

    Returns:
        Figures by kind in order of first question, "all" last. Intervals hold 95 % and are clustered by video; with
        fewer than two videos there is none. The time error is a mean over the answers that name a time; the share
        that names none is time_missing. Values that are all equal (all right, all wrong) give an interval of no width,
        a limit of the bootstrap and no certainty.
    """
    figures = []
    for kind, rows in _by_kind(results.rows).items():
        drawn = Resampling([row["video"] for row in rows], seed=seed, resamples=resamples)
        names = ("correct",) if kind == ALL_KINDS else [name for name in METRICS if name in rows[0]]
        errors = sum(row["status"] == "error" for row in rows)
        figures += [
            Figure(
                kind=kind,
                metric=name,
                n=len(rows),
                errors=errors,
                estimate=drawn.mean([row[name] for row in rows]),
                costs=_costs(rows),
            )
            for name in names
        ]
    return figures


def compare(
    results: Results,
    base: Results,
    *,
    metric: str = "correct",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare two runs of the same questions, videos resampled for both alike.

    Args:
        results: the run in question.
        base: what it is held against, for example the dense run.
        metric: to compare; kinds without it are left out.
        seed: of the resampling.
        resamples: number of resamples of the videos.

    Returns:
        Difference and ratio per kind, "all" last. A ratio has no interval where a resample's base is zero.

    Raises:
        ConfigError: the runs are not of the same questions, one of them is not finished, or no row has the metric.
    """
    partners = _partners(results, base)
    if not any(metric in row for row in results.rows):
        raise ConfigError(f"No question has the metric {metric!r}. Known: {', '.join(METRICS)}.")
    found = []
    for kind, rows in _by_kind(results.rows).items():
        if not all(metric in row for row in rows):
            continue
        drawn = Resampling([row["video"] for row in rows], seed=seed, resamples=resamples)
        values = [row[metric] for row in rows], [partners[row["id"]][metric] for row in rows]
        difference, ratio = drawn.difference(*values), drawn.ratio(*values)
        found.append(Comparison(kind=kind, metric=metric, n=len(rows), difference=difference, ratio=ratio))
    return found


def _by_kind(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["kind"], []).append(row)
    return groups | ({ALL_KINDS: list(rows)} if rows else {})


def _costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Mean tokens, and median seconds: the first question of a run warms the machine up for the others."""
    answered = [row for row in rows if row["status"] == "ok"]
    if not answered:
        return {}
    seconds = ("input_seconds", "first_token_seconds", "generate_seconds")
    tokens = {"tokens_dense": "video_tokens_dense", "tokens_kept": "video_tokens_kept"}
    means: dict[str, float | None] = {
        name: statistics.fmean(row[column] for row in answered) for name, column in tokens.items()
    }
    # results of version 0.1 do not tell what the tower encoded
    encoded = [row["video_cells_encoded"] for row in answered if "video_cells_encoded" in row]
    means["cells_encoded"] = statistics.fmean(encoded) if encoded else None
    # a video is read for the first of its questions alone
    measured = {name: [row[name] for row in answered if row[name] is not None] for name in seconds}
    return means | {name: statistics.median(values) if values else None for name, values in measured.items()}


def _partners(results: Results, base: Results) -> dict[str, Mapping[str, Any]]:
    if results.header["questions"] != base.header["questions"]:
        raise ConfigError("The two runs are not of the same questions (their headers' hashes differ).")
    for run in (results, base):
        if len(run.rows) < run.header["num_questions"]:
            raise ConfigError(
                f"The run of preset {run.header['preset']!r} has answered {len(run.rows)} of "
                f"{run.header['num_questions']} questions; finish it first."
            )
    return {row["id"]: row for row in base.rows}


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, None where there is none: fewer than two videos, or a ratio over nothing."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Resampling:
    """How often each video is drawn in each resample; one resampling serves all that is compared.

    Args:
        videos: per question the video it is about.
        seed: of the draws.
        resamples: number of them.
    """

    def __init__(self, videos: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> None:
        names, self.clusters = np.unique(np.array(videos), return_inverse=True)
        self.num_videos = len(names)
        share = np.full(self.num_videos, 1 / self.num_videos)
        self.draws = np.random.default_rng(seed).multinomial(self.num_videos, share, size=resamples)  # [R, V]

    def mean(self, values: Sequence[float | None]) -> Estimate:
        """Estimate the mean over questions, None left out; its interval is of the resamples that hold a value."""
        total, count = self._per_video(values)
        if not count.sum():
            return Estimate(None)
        sums, counts = self.draws @ total, self.draws @ count
        return self._estimate(float(total.sum() / count.sum()), sums[counts > 0] / counts[counts > 0], count)

    def difference(self, values: Sequence[float | None], base: Sequence[float | None]) -> Estimate:
        """Estimate the mean of value minus base over the questions that have both."""
        pairs = zip(values, base, strict=True)
        return self.mean([None if one is None or other is None else one - other for one, other in pairs])

    def ratio(self, values: Sequence[float | None], base: Sequence[float | None]) -> Estimate:
        """Estimate the mean of values over the mean of base, both of the same drawn videos."""
        both = [one is not None and other is not None for one, other in zip(values, base, strict=True)]
        top, count = self._per_video([one if has else None for one, has in zip(values, both, strict=True)])
        bottom, _ = self._per_video([one if has else None for one, has in zip(base, both, strict=True)])
        if not bottom.sum():
            return Estimate(None)
        sums, bases = self.draws @ top, self.draws @ bottom
        # a resample whose base is nothing has no ratio: then neither has the interval an honest end
        ratios = sums / bases if bases.all() else np.empty(0)
        return self._estimate(float(top.sum() / bottom.sum()), ratios, count)

    def _per_video(self, values: Sequence[float | None]) -> tuple[Float64Array, Float64Array]:
        """Sum and number of values per video, float64 [V] each."""
        given = np.array([value is not None for value in values], np.float64)
        numbers = np.array([value or 0.0 for value in values], np.float64)
        sums, counts = (np.bincount(self.clusters, column, self.num_videos) for column in (numbers, given))
        return sums.astype(np.float64), counts.astype(np.float64)

    def _estimate(self, value: float, drawn: Float64Array, count: Float64Array) -> Estimate:
        if np.count_nonzero(count) < 2 or not len(drawn):
            return Estimate(value)
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(drawn, [tail, 100 - tail])
        return Estimate(value, float(low), float(high))


def csv_rows(results: Results, figures: Sequence[Figure], *, seed: int) -> list[dict[str, str]]:
    """Spell figures as rows of the summary CSV; what is unknown is empty."""
    head = results.header
    told = ("model", "preset", "tower_ratio", "keep_ratio", "fps", "commit", "command")
    shared = {name: head.get(name) for name in told}
    settings = json.dumps(head["settings"], sort_keys=True, default=str) if head.get("settings") else None
    rows = []
    for figure in figures:
        named = {
            "kind": figure.kind,
            "n": figure.n,
            "metric": figure.metric,
            "errors": figure.errors,
            "seed": seed,
        }
        row: dict[str, Any] = (
            shared | {"settings": settings} | named | vars(figure.estimate) | dict(figure.costs)
        )
        rows.append({name: _spelled(row.get(name)) for name in COLUMNS})
    return rows


def append_csv(path: str | Path, rows: Sequence[Mapping[str, str]]) -> int:
    """Add rows to a summary CSV, those that are there already, commit and command aside, left out; how many were added.

    Raises:
        ConfigError: the file has other columns.
    """
    there = {_identity(row) for row in read_csv(path)}
    new = [row for row in rows if _identity(row) not in there]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(new)
    return len(new)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Read a summary CSV, no rows where there is no file; ConfigError where it has other columns."""
    if not Path(path).is_file() or Path(path).stat().st_size == 0:
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigError(
                f"{path} has other columns than a summary ({', '.join(COLUMNS)}); give another file."
            )
        return list(reader)


def _identity(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in COLUMNS if name not in _PROVENANCE)


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
