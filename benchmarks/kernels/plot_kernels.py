"""Draw the kernels' times over their floor: one panel per device, a row per op, a mark per provider.

python benchmarks/kernels/plot_kernels.py docs/img/kernels.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import kernel_tables

MARKS = {"torch": "o", "torch.compile": "s", "triton": "D", "opencv": "^", "flash_attn": "v"}


def main():
    """Draw one panel per device and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    rows = kernel_tables.largest(kernel_tables.read())
    devices = list(dict.fromkeys(row["device"] for row in rows))
    figure, axes = plt.subplots(
        len(devices), 1, figsize=(7.5, 3.2 * len(devices)), squeeze=False, layout="constrained"
    )
    for axis, device in zip(axes[:, 0], devices, strict=True):
        draw(axis, [row for row in rows if row["device"] == device])
        axis.set_title(f"{device}: median time over the floor", fontsize=9)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


def draw(axis, rows):
    """Mark every provider's time over the floor, a line per op."""
    ops = list(dict.fromkeys(row["op"] for row in rows))
    for provider, mark in MARKS.items():
        mine = [row for row in rows if row["provider"] == provider]
        over = [1 / float(row["of_floor"]) for row in mine]
        axis.plot(over, [ops.index(row["op"]) for row in mine], mark, label=provider, markersize=6)
    sizes = {row["op"]: f"{row['op']}\n{row['x_name']} {row['x']}, {row['dtype']}" for row in rows}
    axis.set_yticks(range(len(ops)), [sizes[op] for op in ops], fontsize=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlabel("times the floor (1: as fast as the device can move the bytes, or multiply)", fontsize=8)
    axis.grid(axis="x", alpha=0.3)
    there = [line for line in axis.get_lines() if len(line.get_xdata()) and line.get_label()[0] != "_"]
    axis.legend(handles=there, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


if __name__ == "__main__":
    main()
