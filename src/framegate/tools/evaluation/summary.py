"""Results in numbers: metrics per kind with intervals, costs, and two runs compared on the same videos."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framegate.errors import ConfigError
from framegate.tools.evaluation.bootstrap import RESAMPLES, Estimate, Resampling
from framegate.tools.evaluation.results import Results

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

    Source: ours.
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

    Source: ours.
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
    means = {name: statistics.fmean(row[column] for row in answered) for name, column in tokens.items()}
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
