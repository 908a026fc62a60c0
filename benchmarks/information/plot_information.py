"""Draw results/information.csv: PSNR against tokens per clip, and the share of text still read.

python benchmarks/information/plot_information.py docs/img/information.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from information.summary import read

COLOURS = {
    "random": "tab:grey",
    "uniform_frames": "tab:olive",
    "down_scaling": "tab:brown",
    "rlt": "tab:orange",
    "evs": "tab:pink",
    "dtd": "tab:red",
    "grt": "tab:cyan",
    "grt_released": "tab:purple",
    "gate": "tab:green",
    "framegate": "tab:blue",
}


def main():
    """Draw every clip, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    rows = read()
    clips = list(dict.fromkeys(row["clip"] for row in rows))
    panels = [(clip, "psnr_db", "PSNR, dB") for clip in clips]
    with_text = dict.fromkeys(row["clip"] for row in rows if row["ocr_recall"])
    panels += [(clip, "ocr_recall", "lines of text still read") for clip in with_text]
    columns = -(-len(panels) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(3.4 * columns, 5.6), layout="constrained", squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (clip, column, label) in zip(axes.flat, panels, strict=False):
        draw(axis, [row for row in rows if row["clip"] == clip], column)
        axis.set_title(clip, fontsize=9)
        axis.set_ylabel(label, fontsize=8)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)
    print(f"wrote {target} ({target.stat().st_size / 1024:.0f} KiB)")


def draw(axis, rows, column):
    """Draw a column of the CSV against the share of tokens, a line per method."""
    for method, colour in COLOURS.items():
        points = sorted(
            (int(row["tokens"]) / int(row["tokens_dense"]), float(row[column]))
            for row in rows
            if row["method"] == method
        )
        if points:
            width = 2.2 if method == "framegate" else 1.2
            axis.plot(
                *zip(*points, strict=True), "o-", color=colour, label=method, markersize=3, linewidth=width
            )
    axis.set_xscale("log")
    axis.set_xticks([0.05, 0.1, 0.25, 0.5], ["5 %", "10 %", "25 %", "50 %"], fontsize=7)
    axis.minorticks_off()
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
