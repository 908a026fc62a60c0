"""Draw results/answers.csv: accuracy against tokens, and accuracy, tokens and seconds against frames per second.

python benchmarks/answers/plot_answers.py docs/img/answers.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from answers.summary import WEIGHTS, pick, read, share
from information.plot_information import COLOURS

MORE_COLOURS = COLOURS | {"kffocus": "black", "vidcom2": "gold", "dense": "dimgrey"}


def main():
    """Read the CSV and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    rows = read()
    weights = [name for name in WEIGHTS if pick(rows, weights=name, series="budget")]
    figure, axes = plt.subplots(
        2, len(weights) + 1, figsize=(4.4 * (len(weights) + 1), 7), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for column, name in enumerate(weights):
        for axis, kind, metric in zip(
            axes[:, column], ("all", "text_at"), ("correct", "exact_match"), strict=True
        ):
            draw_budget(axis, rows, name, kind, metric)
    draw_rates(axes[:, -1], rows, weights[-1])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)
    print(f"wrote {target} ({target.stat().st_size / 1024:.0f} KiB)")


def draw_budget(axis, rows, weights, kind, metric):
    """Accuracy against the share of tokens, a line per method."""
    axis.set_axis_on()
    chosen = pick(rows, kind=kind, metric=metric, series="budget", weights=weights)
    dense = next(row for row in chosen if row["name"] == "dense")
    axis.axhline(float(dense["value"]), color=MORE_COLOURS["dense"], linestyle=":", label="dense")
    for method, colour in MORE_COLOURS.items():
        points = sorted(
            (share(row), float(row["value"]), float(row["low"]), float(row["high"]))
            for row in chosen
            if row["name"] == method and row["keep_ratio"] and row["tokens_kept"]
        )
        if points:
            x, y, low, high = zip(*points, strict=True)
            axis.plot(
                x,
                y,
                "o-",
                color=colour,
                label=method,
                markersize=3,
                linewidth=2.2 if method == "framegate" else 1.1,
            )
            if method == "framegate":
                axis.fill_between(x, low, high, color=colour, alpha=0.15)
    axis.set_xscale("log")
    axis.set_xticks([0.05, 0.1, 0.25, 0.5], ["5 %", "10 %", "25 %", "50 %"], fontsize=7)
    axis.minorticks_off()
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
    axis.set_title(
        f"{'all questions' if kind == 'all' else 'text at a time'}, {WEIGHTS[weights]}", fontsize=9
    )
    axis.set_xlabel("tokens", fontsize=8)
    axis.set_ylabel("right answers", fontsize=8)


def draw_rates(axes, rows, weights):
    """Accuracy and tokens against frames per second."""
    chosen = pick(rows, kind="text_at", metric="exact_match", series="fps", weights=weights)
    for axis, value, label in (
        (axes[0], lambda row: float(row["value"]), "text at a time, still camera"),
        (axes[1], lambda row: float(row["tokens_kept"]), "video tokens"),
    ):
        axis.set_axis_on()
        for name in ("dense", "gate", "framegate"):
            points = [(float(row["fps"]), value(row)) for row in chosen if row["name"] == name]
            if points:
                axis.plot(
                    *zip(*sorted(points), strict=True),
                    "o-",
                    color=MORE_COLOURS[name],
                    label=name,
                    markersize=3,
                )
        axis.set_xscale("log", base=2)
        axis.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"], fontsize=7)
        axis.set_xlabel("frames per second", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.grid(alpha=0.3)
    axes[1].set_yscale("log", base=2)


if __name__ == "__main__":
    main()
