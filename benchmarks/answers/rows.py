"""From the results of a run and of its dense twin to rows of answers.csv."""

import statistics

from framegate.tools.evaluation import compare, summarise
from framegate.tools.evaluation.results import Results
from framegate.tools.evaluation.summary import Resampling

METRICS = ("correct", "exact_match", "cer", "token_f1", "time_error_seconds")
# Kinds that the dense model answers at least twice as well as chance on the validation split (where chance is one half,
# half as often wrong); tests/test_results.py holds this against the committed rows.
HEADLINE = ("text_at", "grid")
# What is got without seeing: one of two, one of nine places, the count that is most common there
CHANCE = {"order": 1 / 2, "appears": 1 / 2, "changed": 1 / 2, "grid": 1 / 9, "count": 1 / 4}
# texts at a time apart by how long they stand
LONG_SECONDS = 0.75
STILL_RIGHT = "still_right"


def pooled(results):
    """Results of several sets as one; sets of other sizes and seeds may use the same names for other videos."""
    header = dict(results[0].header)
    header["questions"] = " ".join(one.header["questions"] for one in results)
    header["num_questions"] = sum(one.header["num_questions"] for one in results)
    rows = (
        {**row, "id": f"{number} {row['id']}", "video": f"{number} {row['video']}"}
        for number, one in enumerate(results)
        for row in one.rows
    )
    return Results(header, tuple(rows))


def parts(results, camera):
    """Results by what rows are told by: the headline's kinds together, each kind, and texts by how long they stand."""
    rows = [row for row in results.rows if camera is None or row["doc"]["meta"]["camera"] == camera]
    yield "headline", [row for row in rows if row["kind"] in HEADLINE]
    if camera is not None:
        return
    yield "all", rows
    for kind in dict.fromkeys(row["kind"] for row in rows):
        yield kind, [row for row in rows if row["kind"] == kind]
    texts = [row for row in rows if row["kind"] == "text_at"]
    for name, lasting in (("text_at, long", True), ("text_at, short", False)):
        chosen = [row for row in texts if (row["doc"]["meta"]["stands_seconds"] >= LONG_SECONDS) == lasting]
        yield name, chosen


def rows_of(results, dense, camera=None, *, rival=None):
    """Rows of one run at one size.

    Args:
        results: of the run, its sets pooled.
        dense: of the dense run on the same questions.
        camera: only questions about videos of this camera, and of them the headline alone.
        rival: of the rival's run on the same questions; None where the run has none.

    Returns:
        Rows without what all rows of a run share.
    """
    twins = dict(parts(dense, camera))
    rivals = {} if rival is None else dict(parts(rival, camera))
    found = []
    for kind, rows in parts(results, camera):
        if rows:
            found += _rows_of_kind(kind, rows, twins[kind], rivals.get(kind))
    return found


def _rows_of_kind(kind, rows, dense_rows, rival_rows):
    mine, theirs = _results(kind, rows), _results(kind, dense_rows)
    held = compare(mine, theirs)[-1]
    over = None if rival_rows is None else compare(mine, _results(kind, rival_rows))[-1].difference
    figures = {figure.metric: figure for figure in summarise(mine) if figure.metric in METRICS}
    costs = _costs(rows, next(iter(figures.values())))
    found = []
    for metric, figure in figures.items():
        row = {"kind": kind, "metric": metric, "n": figure.n, "errors": figure.errors, **costs}
        row |= vars(figure.estimate)
        if metric == "correct":
            row |= _spread("of_dense", held.ratio) | _spread("difference", held.difference)
            row |= {} if over is None else _spread("over_rival", over)
        found.append(row)
    right = {row["id"] for row in dense_rows if row["correct"]}
    kept = [row for row in rows if row["id"] in right]
    if kept:
        # what dense does not know cannot be lost, and what is guessed right instead is no gain
        videos = Resampling([row["video"] for row in kept], seed=0)
        estimate = videos.mean([row["correct"] for row in kept])
        errors = sum(row["status"] == "error" for row in kept)
        row = {"kind": kind, "metric": STILL_RIGHT, "n": len(kept), "errors": errors, **costs}
        found.append(row | vars(estimate))
    return found


def _results(kind, rows):
    return Results({"questions": kind, "num_questions": len(rows), "preset": ""}, tuple(rows))


def _spread(name, estimate):
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _costs(rows, figure):
    """Mean shares of tower and prompt, and the median time of what stands behind the tower."""
    costs = {name: value for name, value in figure.costs.items() if name != "first_token_seconds"}
    dense = costs.get("tokens_dense")
    if dense:
        costs["tower_share"] = costs["cells_encoded"] / dense
        costs["prompt_share"] = costs["tokens_kept"] / dense
    spent = [row["after_tower_ms"] for row in rows if row.get("after_tower_ms") is not None]
    return costs | {"after_tower_ms": statistics.median(spent) if spent else None}
