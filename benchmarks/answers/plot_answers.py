"""Draw results/answers.csv: right answers, of dense, against shares of prompt and tower, and frame rates.

python benchmarks/answers/plot_answers.py docs/img/answers.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from answers.summary import OF_DENSE, pick, read
from answers.tables import VIDCOM2
from information.plot_information import COLOURS

MORE_COLOURS = COLOURS | {"kffocus": "black", "stc": "teal", VIDCOM2: "gold", "dense": "dimgrey"}
SHARES = [0.05, 0.1, 0.25, 0.5, 1.0]


def main():
    """Read the CSV and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    rows = read()
    budget = pick(rows, series="budget", weights="training_free")
    rates = pick(rows, series="fps", weights="training_free", camera="still")
    panels = 3 if rates else 2
    figure, axes = plt.subplots(1, panels, figsize=(4.5 * panels, 4.6), layout="constrained")
    draw_prompts(axes[0], budget)
    draw_towers(axes[1], budget)
    if rates:
        draw_rates(axes[2], rates)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)
    print(f"wrote {target} ({target.stat().st_size / 1024:.0f} KiB)")


def draw_prompts(axis, rows):
    """Shares of dense against the share of the prompt, a line per method; ours with a quarter of the tower."""
    for method, colour in MORE_COLOURS.items():
        mine = [row for row in rows if row["name"] == method and row["keep_ratio"] and row["value"]]
        if method == "framegate":
            mine = [row for row in mine if row["tower_ratio"] == "0.25"]
        line(axis, mine, "prompt_share", method, colour)
    dense_line(axis, rows)
    finish(axis, "share of the prompt (framegate: a quarter of the tower)")


def draw_towers(axis, rows):
    """Shares of dense of the default against the share of the tower, a line per share of the prompt."""
    mine = [row for row in rows if row["name"] == "framegate"]
    prompts = sorted({row["keep_ratio"] for row in mine}, key=float)
    for number, prompt in enumerate(prompts):
        chosen = [row for row in mine if row["keep_ratio"] == prompt]
        colour = plt.get_cmap("viridis")(number / max(1, len(prompts) - 1) * 0.9)
        line(axis, chosen, "tower_share", f"prompt {float(prompt):.0%}", colour)
    dense_line(axis, rows)
    axis.legend(fontsize=7)
    finish(axis, "share of the tower (framegate)")


def draw_rates(axis, rows):
    """Right answers against frames per second."""
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = sorted((row for row in rows if row["name"] == name), key=lambda row: float(row["fps"]))
        x, y = ([float(row[column]) for row in mine] for column in ("fps", "value"))
        axis.plot(x, y, "o-", markersize=3, label=name, color=MORE_COLOURS.get(name))
    axis.set_xscale("log", base=2)
    axis.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"], fontsize=7)
    axis.set_ylim(0, 1)
    axis.set_xlabel("frames per second, still cameras", fontsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def line(axis, rows, share, label, colour):
    """One method: points with what they cost, and of the default the interval."""
    if not rows:
        return
    points = sorted(tuple(float(row[name]) for name in (share, *OF_DENSE)) for row in rows)
    x, y, low, high = zip(*points, strict=True)
    wide = 2.2 if label == "framegate" else 1.1
    axis.plot(x, y, "o-", color=colour, label=label, markersize=3, linewidth=wide)
    if label == "framegate":
        axis.fill_between(x, low, high, color=colour, alpha=0.15)


def dense_line(axis, rows):
    """What is answered when nothing is left out, and what is guessed when everything is."""
    guessed = [float(row["of_dense"]) for row in rows if row["name"] == "no video"]
    for name, style, level in (("dense", ":", [1.0]), ("no video", "--", guessed)):
        if level:
            axis.axhline(level[0], color=MORE_COLOURS["dense"], linestyle=style, linewidth=1, label=name)


def finish(axis, label):
    """Axes of shares, all alike."""
    axis.set_xscale("log")
    axis.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES], fontsize=7)
    axis.minorticks_off()
    axis.set_ylim(0, 1.1)
    axis.set_xlabel(label, fontsize=8)
    axis.set_ylabel("right answers, of dense, headline kinds", fontsize=8)
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
