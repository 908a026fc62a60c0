"""Draw docs/nano_training.csv: what framegate/nano could do while it was trained, run after run.

python benchmarks/answers/plot_training.py docs/img/nano_training.png
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PATH = Path(__file__).resolve().parents[2] / "docs" / "nano_training.csv"
SHOWN = {
    "letters": "letters (tower)",
    "text_at": "text at a time",
    "order": "order",
    "grid": "marker",
    "appears": "yes or no",
}


def main():
    """Read the CSV and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    with PATH.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, (above, below) = plt.subplots(2, figsize=(8, 6), sharex=True, layout="constrained")
    begin = 0
    for run in dict.fromkeys(row["run"] for row in rows):
        chosen = [row for row in rows if row["run"] == run]
        draw_run(above, below, chosen, begin)
        begin += int(chosen[-1]["step"])
        for axis in (above, below):
            axis.axvline(begin, color="black", linewidth=0.6, linestyle=":")
    above.set_ylabel("share right, running mean")
    above.set_ylim(0, 1)
    below.set_ylabel("loss of the batch (nats per token)")
    below.set_xlabel("step; dotted: a new run under another recipe")
    # a kind that came later has no line in the first runs
    lines = {line.get_label(): line for line in above.get_lines() if not line.get_label().startswith("_")}
    figure.legend(lines.values(), lines.keys(), fontsize=8, ncols=5, loc="outside upper center")
    for axis in (above, below):
        axis.grid(alpha=0.3)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)
    print(f"wrote {target}")


def draw_run(above, below, rows, begin):
    """Draw one run, its steps counted on from where the last one ended."""
    for number, (column, label) in enumerate(SHOWN.items()):
        points = [(begin + int(row["step"]), float(row[column])) for row in rows if row[column]]
        if points:
            above.plot(*zip(*points, strict=True), color=f"C{number}", label=label, linewidth=1.2)
    points = [(begin + int(row["step"]), float(row["loss"])) for row in rows]
    below.plot(*zip(*points, strict=True), ".", color="dimgrey", markersize=2)


if __name__ == "__main__":
    main()
