"""Draws docs/img/refill.png: what gate, refill and select make of the first eight seconds of the shipped clip.

    python docs/make_refill_picture.py

The plan is that of `framegate.plan_video`. No model is loaded, so the rule that selects goes by pixels here; in a model
it goes by the features that enter the language model.
"""

from importlib import resources
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import ConnectionPatch, Rectangle
from PIL import Image

import framegate
from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, best_of_tubes
from framegate.models.stages.select.rules.equal_shares import rank

OUT = Path(__file__).parent / "img" / "refill.png"
SHARE = 0.25
SHOWN_SECONDS = (0.0, 1.0, 2.5, 4.5, 5.0)
ENCODED, AGAIN, NOTHING = "#e8710a", "#4285c8", "#d9d9d9"
ARROW = "#1b3a5c"
VEIL = 0.28
# in "Most of a frame repeats": encoded when it appears, at 1.0 s, and followed to 4.5 s
FOLLOWED = {"row": 3, "column": 4, "from": 1, "to": 3}
DPI = 100


def main():
    """Plan, select, draw."""
    clip = resources.files("framegate") / "assets" / "slides.mp4"
    plan = framegate.plan_video(str(clip), "framegate", tower_ratio=SHARE, fps=2, end_seconds=8)
    chosen = select(plan, round(SHARE * plan.num_cells))
    tubes = [int(np.argmin(abs(plan.timestamps_seconds - time))) for time in SHOWN_SECONDS]
    draw(plan, chosen, tubes)


def cells_of(frames, cell_px):
    """Frames [T, h, w, 3] cut into cells [T, H, W, cell, cell, 3]."""
    tubes, height, width, _ = frames.shape
    grid = frames.reshape(tubes, height // cell_px, cell_px, width // cell_px, cell_px, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5)


def select(plan, wanted):
    """Choose tokens of the filled grid by equal shares, bool [T, H, W]."""
    pixels = torch.from_numpy(cells_of(plan.reconstruct(), plan.cell_px).reshape(plan.num_cells, -1))
    tube = torch.arange(len(plan.keep)).repeat_interleave(plan.keep[0].size)
    anchor = torch.from_numpy(plan.anchor.ravel().astype(np.int64))
    video = VideoToChoose(
        features=pixels.float() - 128, tube=tube, sizes=torch.bincount(tube), age=tube - anchor
    )
    scores, counts = rank(video, wanted, SelectConfig())
    return best_of_tubes(scores, tube, counts).numpy().reshape(plan.keep.shape)


def draw(plan, chosen, tubes):
    """Four rows of a few tubes: the video, what is encoded, what is shown again, what is read."""
    source, filled = plan.source_frames(), plan.reconstruct()
    figure, axes = plt.subplots(
        4,
        len(tubes),
        figsize=(13.2, 6.5),
        gridspec_kw={
            "left": 0.165,
            "right": 0.995,
            "top": 0.955,
            "bottom": 0.05,
            "wspace": 0.04,
            "hspace": 0.09,
        },
    )
    for column, tube in enumerate(tubes):
        keep, read = plan.keep[tube], chosen[tube]
        panel(axes[0, column], source[tube], plan)
        panel(axes[1, column], source[tube], plan, encoded=keep, shown=keep)
        panel(axes[2, column], filled[tube], plan, encoded=keep, again=~keep)
        panel(axes[3, column], filled[tube], plan, encoded=keep & read, again=read & ~keep, shown=read)
        axes[0, column].set_title(f"{plan.timestamps_seconds[tube]:.1f} s", fontsize=11)
    for axis, (title, text) in zip(axes[:, 0], texts(plan, chosen), strict=True):
        box = axis.get_position()
        figure.text(0.006, box.y1 - 0.004, title, fontsize=14, weight="bold", va="top")
        figure.text(0.006, box.y1 - 0.043, text, fontsize=9.5, va="top", linespacing=1.25)
    follow(axes, plan, tubes)
    legend(figure)
    save(figure)


def texts(plan, chosen):
    """Title and words beside each row."""
    cells, encoded, read = (f"{count:,}" for count in (plan.num_cells, plan.num_kept, chosen.sum()))
    share, read_share = f"{plan.num_kept / plan.num_cells:.0%}", f"{chosen.mean():.0%}"
    words = {
        "the video": (
            f"{cells} cells in {len(plan.keep)} tubes;",
            "a dense model encodes",
            "and reads them all",
        ),
        "gate": (
            f"the tower encodes {encoded}",
            f"of {cells} cells ({share}):",
            "those that changed. Alone,",
            "it would make the model",
            "forget what stands still",
        ),
        "refill": (
            "every other cell gets the",
            "features of its anchor",
            "again: the grid is whole",
            "in every tube",
        ),
        "select": (
            "the language model reads",
            f"{read} of {cells} tokens ({read_share}):",
            "of every tube the",
            "most telling ones",
        ),
    }
    return [(title, "\n".join(lines)) for title, lines in words.items()]


def panel(axis, frame, plan, *, encoded=None, again=None, shown=None):
    """One tube: cells that are not shown blank, encoded ones framed, those shown again veiled."""
    side = plan.cell_px
    picture = frame.astype(float) / 255
    for cells, colour, weight in ((again, AGAIN, VEIL), (None if shown is None else ~shown, NOTHING, 1.0)):
        if cells is not None:
            veil = np.kron(cells, np.ones((side, side)))[..., None] * weight
            picture = picture * (1 - veil) + veil * np.array(to_rgb(colour))
    axis.imshow(picture, interpolation="antialiased")
    if encoded is not None:
        for row, column in np.argwhere(encoded):
            corner = (column * side + 1, row * side + 1)
            axis.add_patch(Rectangle(corner, side - 3, side - 3, fill=False, ec=ENCODED, lw=0.9))
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color="#888888", linewidth=0.6)


def follow(axes, plan, tubes):
    """An arrow from where a cell was encoded to where it is shown again."""
    row, column = FOLLOWED["row"], FOLLOWED["column"]
    first, later = tubes[FOLLOWED["from"]], tubes[FOLLOWED["to"]]
    assert plan.keep[first, row, column], "the followed cell is encoded where the arrow begins"
    assert plan.anchor[later, row, column] == first, "and stands for itself where it ends"
    centre = ((column + 0.5) * plan.cell_px, (row + 0.5) * plan.cell_px)
    arrow = ConnectionPatch(
        centre,
        centre,
        "data",
        "data",
        axesA=axes[1, FOLLOWED["from"]],
        axesB=axes[2, FOLLOWED["to"]],
        arrowstyle="-|>",
        connectionstyle="arc3,rad=-0.12",
        color=ARROW,
        lw=1.6,
        mutation_scale=14,
        shrinkA=3,
        shrinkB=3,
    )
    axes[3, 0].figure.add_artist(arrow)
    seconds = [plan.timestamps_seconds[tube] for tube in (first, later)]
    text = f"encoded at {seconds[0]:.1f} s,\nshown again at {seconds[1]:.1f} s"
    at = axes[1, FOLLOWED["to"]]
    at.text(0.5, 0.93, text, transform=at.transAxes, ha="center", va="top", fontsize=9.5, color=ARROW)


def legend(figure):
    """What the colours mean."""
    kinds = (
        ("white", ENCODED, "encoded in this tube"),
        ((*to_rgb(AGAIN), VEIL), "none", "shown again: its anchor's features, from an earlier tube"),
        (NOTHING, "none", "no token"),
    )
    handles = [Rectangle((0, 0), 1, 1, fc=face, ec=edge, lw=1.5) for face, edge, _ in kinds]
    figure.legend(
        handles,
        [text for *_, text in kinds],
        loc="lower right",
        bbox_to_anchor=(0.995, 0.0),
        ncol=3,
        frameon=False,
        fontsize=10,
    )


def save(figure, out=OUT):
    """Written with 64 colours, which a page loads in a blink."""
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    out.parent.mkdir(exist_ok=True)
    image.quantize(64, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1024:.0f} kB, {image.size[0]} x {image.size[1]}")


if __name__ == "__main__":
    mpl.use("Agg")
    mpl.rcParams["figure.dpi"] = DPI
    main()
