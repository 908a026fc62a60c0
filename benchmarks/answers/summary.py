"""Reads results/answers.csv: picks rows and spells their numbers."""

import csv
import math
from pathlib import Path

PATH = Path(__file__).parent / "results" / "answers.csv"
WEIGHTS = {"training_free": "as shipped", "gate_tuned": "after a short fine-tune with the front end on"}
OF_DENSE = ("of_dense", "of_dense_low", "of_dense_high")
EVERYWHERE = {"split": "test", "size": "all", "camera": "all"}


def read(path=PATH):
    """Rows of a CSV, every value a text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pick(rows, *, kind="headline", metric="correct", **wanted):
    """Rows of a kind and metric of the test split, all sizes and cameras together, where `wanted` says nothing else."""
    wanted = EVERYWHERE | wanted | {"kind": kind, "metric": metric}
    return [row for row in rows if all(row[name] == text for name, text in wanted.items())]


def interval(row, columns=("value", "low", "high")):
    """A number with its interval; a run all of whose questions failed has none."""
    value, low, high = (row[name] for name in columns)
    if not value:
        return "cannot"
    text = f"{float(value):.3f}"
    return f"{text} ({float(low):.3f} to {float(high):.3f})" if low else text


def percent(text):
    """A share as whole per cent; empty where nothing is said."""
    return f"{float(text):.0%}" if text else ""


def exponent(rows, column):
    """How a column grows with the frame rate: the slope of its logarithm over that of fps, by least squares."""
    points = [(math.log(float(row["fps"])), math.log(float(row[column]))) for row in rows]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)
