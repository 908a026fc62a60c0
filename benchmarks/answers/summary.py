"""Reads results/answers.csv and turns it into rows of tables."""

import csv
import math
from pathlib import Path

PATH = Path(__file__).parent / "results" / "answers.csv"
WEIGHTS = {"training_free": "as shipped", "gate_tuned": "after a short fine-tune with the gate on"}
OURS = "framegate"


def read(path=PATH):
    """Rows of a CSV, every value a text; of the answers those of generator 2, which drew one size of frames."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if not row.get("size")]


def pick(rows, *, kind="all", metric="correct", **wanted):
    """Rows of a kind and metric whose other columns are as wanted."""
    return [
        row
        for row in rows
        if row["kind"] == kind
        and row["metric"] == metric
        and all(row[name] == text for name, text in wanted.items())
    ]


def share(row):
    """Tokens that reached the language model, of the dense ones."""
    return float(row["tokens_kept"]) / float(row["tokens_dense"])


def interval(row, columns=("value", "low", "high")):
    """A number with its interval; a run all of whose questions failed has none."""
    value, low, high = (row[name] for name in columns)
    if not value or row["tokens_kept"] == "":
        return "cannot"
    text = f"{float(value):.3f}"
    return f"{text} ({float(low):.3f} to {float(high):.3f})" if low else text


def methods(rows):
    """Methods in order, dense first."""
    return list(dict.fromkeys(row["name"] for row in rows))


def budget_rows(rows, weights, *, kind="all", metric="correct"):
    """One row per method: accuracy at every budget."""
    chosen = pick(rows, kind=kind, metric=metric, series="budget", weights=weights)
    ratios = sorted({float(row["keep_ratio"]) for row in chosen if row["keep_ratio"]}, reverse=True)
    body = []
    for name in methods(chosen):
        cells = {row["keep_ratio"]: interval(row) for row in chosen if row["name"] == name}
        body.append([name, cells.get("", ""), *(cells.get(f"{ratio:.5g}", "") for ratio in ratios)])
    return ["method", "100%", *(f"{ratio:.0%}" for ratio in ratios)], body


def fps_rows(rows, weights):
    """One row per rate and preset: accuracy of text questions, tokens and times."""
    chosen = pick(rows, kind="text_at", metric="exact_match", series="fps", weights=weights)
    body = [
        [
            row["fps"],
            row["name"],
            interval(row),
            f"{float(row['tokens_kept']):,.0f}",
            f"{1000 * float(row['input_seconds']):.0f}",
            f"{1000 * float(row['first_token_seconds']):.0f}",
        ]
        for row in chosen
    ]
    return ["fps", "preset", "text at a time, EM", "video tokens", "inputs, ms", "first token, ms"], body


def exponent(rows, weights, name):
    """How tokens grow with the frame rate: the slope of log tokens over log fps, by least squares."""
    chosen = pick(rows, kind="text_at", metric="exact_match", series="fps", weights=weights, name=name)
    points = [(math.log(float(row["fps"])), math.log(float(row["tokens_kept"]))) for row in chosen]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)


def pair_rows(rows, series, weights, kinds=(("all", "correct"), ("text_at", "correct"), ("when", "correct"))):
    """One row per name and budget of a small series, one column per kind."""
    found = {}
    for kind, metric in kinds:
        for row in pick(rows, kind=kind, metric=metric, series=series, weights=weights):
            found.setdefault((row["name"], row["keep_ratio"]), {})[kind] = interval(row)
    body = [
        [name, f"{float(ratio):.0%}" if ratio else "100%", *(values.get(kind, "") for kind, _ in kinds)]
        for (name, ratio), values in found.items()
    ]
    return ["", "tokens", *(kind for kind, _ in kinds)], body
