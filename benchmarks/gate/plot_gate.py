"""Draw results/quality.csv: PSNR against kept cells, one panel per clip.

python benchmarks/gate/plot_gate.py docs/img/gate_quality.png
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

QUALITY = Path(__file__).parent / "results" / "quality.csv"
COLOURS = {"previous": "tab:grey", "anchor none": "tab:orange", "anchor camera": "tab:blue"}


def main():
    """Draw every clip, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    with QUALITY.open() as file:
        rows = [row for row in csv.DictReader(file) if row["span"] == "all" and row["channels"] == "rgb"]
    clips = list(dict.fromkeys(row["clip"] for row in rows))
    figure, axes = plt.subplots(
        1, len(clips), figsize=(3.4 * len(clips), 3.2), sharey=True, layout="constrained"
    )
    for axis, clip in zip(axes, clips, strict=True):
        draw(axis, [row for row in rows if row["clip"] == clip])
        axis.set_title(f"{clip}, {next(row['fps'] for row in rows if row['clip'] == clip)} fps", fontsize=9)
        axis.set_xlabel("kept cells")
    axes[0].set_ylabel("PSNR of pooled error, RGB, dB")
    axes[-1].legend(fontsize=7)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


def draw(axis, rows):
    """Draw PSNR against the share of tokens, a line per method and tube."""
    for method, colour in COLOURS.items():
        for tube_frames, style in (("1", "o-"), ("2", "s:")):
            points = sorted(
                (float(row["keep_got"]), float(row["psnr_db"]))
                for row in rows
                if row["method"] == method and row["tube_frames"] == tube_frames and row["keep_asked"]
            )
            label = f"{method}, {tube_frames}-frame tubes"
            axis.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=4)
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
