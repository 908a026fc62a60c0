"""Draws docs/img/concept_*.png: a picture for each word of docs/concepts.md, from plans of the shipped clips.

    python docs/make_concept_pictures.py

Every picture shows what `framegate.plan_video` gave; no model is loaded, so the rule that selects goes by pixels, as in
docs/make_refill_picture.py.
"""

from importlib import resources

import make_refill_picture as refill
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import framegate

FPS, END_SECONDS = 2, 8
# of the grid's rows: "Text appears once, then stays" comes up in it at 2.5 s
ROW = 4
# tube of the gate's picture: a bullet came up in it
GATED_TUBE = 5
SHARES = (("framegate", {"tower_ratio": 0.25, "keep_ratio": 0.1}), ("framegate", {"keep_ratio": 0.25}))
BARS = {"encoded by the tower": refill.ENCODED, "read by the language model": refill.AGAIN}


def main():
    """Plan once, draw everything."""
    clip = str(resources.files("framegate") / "assets" / "slides.mp4")
    settings = {"fps": FPS, "end_seconds": END_SECONDS}
    plan = framegate.plan_video(clip, "framegate", tower_ratio=refill.SHARE, **settings)
    chosen = refill.select(plan, round(refill.SHARE * plan.num_cells))
    alone = framegate.plan_video(clip, "framegate", **settings)
    pictures = {
        "tube": tube_and_cell(plan),
        "anchor": anchors(plan),
        "gate": gate(plan),
        "refill": shown_again(plan),
        "select": selected(plan, chosen),
        "budgets": budgets(plan, alone),
        "times": times(clip),
    }
    for name, figure in pictures.items():
        refill.save(figure, refill.OUT.with_name(f"concept_{name}.png"))


def tube_and_cell(plan):
    """Two frames make a tube; a grid cuts it into cells, one of which is marked."""
    frames = plan.source_frames()[GATED_TUBE - 1 : GATED_TUBE + 2]
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.3), layout="constrained")
    rows, columns = plan.keep.shape[1:]
    for number, (axis, frame) in enumerate(zip(axes, frames, strict=True), start=GATED_TUBE - 1):
        axis.imshow(frame)
        lines = {"colors": "#888888", "linewidth": 0.4}
        axis.vlines(np.arange(1, columns) * plan.cell_px, 0, rows * plan.cell_px, **lines)
        axis.hlines(np.arange(1, rows) * plan.cell_px, 0, columns * plan.cell_px, **lines)
        axis.add_patch(_framed(ROW, 3, plan.cell_px, lw=2.0))
        axis.set(xlim=(0, frame.shape[1]), ylim=(frame.shape[0], 0))
        axis.set(xticks=[], yticks=[], title=f"tube {number}, {plan.timestamps_seconds[number]:.1f} s on")
    text = (
        f"a tube is one frame here, two in Qwen-VL; {rows} x {columns} cells of {plan.cell_px} px, one marked"
    )
    figure.supxlabel(text, fontsize=9)
    return figure


def anchors(plan):
    """One row of cells over time: encoded, or how old what stands for them is."""
    age = np.arange(len(plan.keep))[:, None] - plan.anchor[:, ROW]
    figure, axis = plt.subplots(figsize=(9, 3.4), layout="constrained")
    image = axis.imshow(age * plan.timestamps_seconds[1], cmap="Blues", aspect="auto")
    for tube, column in np.argwhere(plan.keep[:, ROW]):
        axis.add_patch(
            Rectangle((column - 0.46, tube - 0.46), 0.92, 0.92, fill=False, ec=refill.ENCODED, lw=1.6)
        )
    axis.set(xlabel=f"cells of row {ROW}, from left to right", ylabel="tube")
    figure.colorbar(image, label="seconds since the anchor was encoded")
    return figure


def gate(plan):
    """What changed in a tube, and which of its cells are encoded."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.5), layout="constrained")
    frames, residual, keep = plan.source_frames(), plan.residual[GATED_TUBE], plan.keep[GATED_TUBE]
    axes[0].imshow(frames[GATED_TUBE])
    axes[0].set_title("the tube")
    image = axes[1].imshow(residual, cmap="Greys")
    axes[1].set_title("residual: how far each cell is\nfrom what its anchor shows")
    figure.colorbar(image, ax=axes[1])
    refill.panel(axes[2], frames[GATED_TUBE], plan, encoded=keep, shown=keep)
    axes[2].set_title(f"encoded: {keep.sum()} of {keep.size} cells")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure


def shown_again(plan):
    """A tube as the tower gives it, and with every cell's anchor in its place."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.3), layout="constrained")
    keep = plan.keep[GATED_TUBE]
    refill.panel(axes[0], plan.source_frames()[GATED_TUBE], plan, encoded=keep, shown=keep)
    axes[0].set_title("what the tower encoded")
    refill.panel(axes[1], plan.reconstruct()[GATED_TUBE], plan, encoded=keep, again=~keep)
    axes[1].set_title("refilled: the anchors of the others again")
    return figure


def selected(plan, chosen):
    """How many tokens each tube has of either kind: the gate's shares are uneven, those of select equal."""
    figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
    counts = {name: cells.sum((1, 2)) for name, cells in zip(BARS, (plan.keep, chosen), strict=True)}
    _bars(axis, counts, [f"{seconds:g}" for seconds in plan.timestamps_seconds])
    axis.set(xlabel="tube's time in seconds", ylabel="cells, tokens")
    return figure


def budgets(plan, alone):
    """What two settings, and none, leave of the dense cells."""
    spent = [("neither", alone.num_kept / alone.num_cells, alone.num_kept / alone.num_cells)]
    for _, shares in SHARES:
        read = shares["keep_ratio"]
        spent.append((_spelled(shares), shares.get("tower_ratio", read), read))
    spent.append(("tower_ratio=0.25", plan.num_kept / plan.num_cells, 1.0))
    figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
    counts = {name: [row[place] for row in spent] for place, name in enumerate(BARS, start=1)}
    _bars(axis, counts, [row[0] for row in spent])
    axis.set(ylabel="share of the dense cells", ylim=(0, 1))
    return figure


def times(clip):
    """Frames stand at their true times, even or not; the stamp of each says when it is."""
    uniform = framegate.plan_frames(clip, "fps", fps=0.5)
    frames = framegate.plan_frames(clip, "keyframes", num_frames=6)
    figure, axis = plt.subplots(figsize=(9, 1.9), layout="constrained")
    rows = {"fps=0.5": uniform.timestamps_seconds, "keyframes": frames.timestamps_seconds}
    for height, seconds in enumerate(rows.values()):
        axis.plot(seconds, np.full(len(seconds), height), "|", color=refill.ENCODED, ms=22, mew=2)
        for second in seconds:
            axis.text(second, height + 0.3, f"<{second:.1f}s>", ha="center", fontsize=8)
    axis.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(-0.5, 1.7), xlabel="seconds of the file")
    return figure


def _bars(axis, counts, names):
    places = np.arange(len(names))
    for number, (label, values) in enumerate(counts.items()):
        axis.bar(places + 0.4 * number - 0.2, values, 0.38, label=label, color=BARS[label])
    axis.set_xticks(places, names)
    axis.legend(frameon=False, fontsize=9)


def _spelled(shares):
    return ", ".join(f"{name}={value}" for name, value in shares.items())


def _framed(row, column, side, *, lw):
    return Rectangle(
        (column * side - 0.5, row * side - 0.5), side, side, fill=False, ec=refill.ENCODED, lw=lw
    )


if __name__ == "__main__":
    mpl.use("Agg")
    mpl.rcParams["figure.dpi"] = refill.DPI
    main()
