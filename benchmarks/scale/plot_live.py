"""Draws docs/img/live.png: what a live session holds of ten minutes, and of single tubes.

    python benchmarks/scale/plot_live.py

A rendered stream (test split) whose texts stand for 6 to 20 seconds, two frames a second, followed by framegate/nano.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_live import SIZE_PX, following, rendered

from framegate.tools.evaluation.generator.render import Renderer
from framegate.tools.evaluation.generator.script import write_script

OUT = Path(__file__).parents[2] / "docs" / "img" / "live.png"
SECONDS, FPS, TOKENS, SEED = 600.0, 2.0, 2048, 5
SHOWN_AGES = (480, 240, 120, 60, 30, 0)
COLOURS = {"whole": "#e8710a", "past": "#4285c8", "text": "#bbbbbb"}
DPI = 90


def main():
    """Follow and draw."""
    script = write_script(SEED, split="test", pace="lasting", duration_seconds=SECONDS, size_px=SIZE_PX)
    with tempfile.TemporaryDirectory() as folder:
        paths = rendered(Path(folder), script, 30.0, FPS)
        with following(paths, fps=FPS, max_video_tokens=TOKENS) as session:
            session.advance(SECONDS - 2)
            tubes, now = list(session.memory.tubes), session.seconds
    mpl.rcParams["font.family"] = "DejaVu Sans"
    figure = plt.figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, len(SHOWN_AGES), height_ratios=(1, 1.5))
    for place, age in enumerate(SHOWN_AGES):
        nearest = min(tubes, key=lambda tube: abs(now - age - tube.seconds))
        draw_tube(figure.add_subplot(grid[0, place]), nearest, Renderer(script), now)
    draw_memory(figure.add_subplot(grid[1, :]), tubes, script, now)
    figure.savefig(OUT, dpi=DPI, pil_kwargs={"optimize": True})
    print(f"wrote {OUT}: {len(tubes)} tubes, {sum(tube.num_tokens for tube in tubes)} tokens")


def draw_tube(axis, tube, renderer, now):
    """A tube's first frame, what no token stands for faded."""
    _, rows, columns = tube.tokens.shapes[0]
    held = np.zeros(rows * columns, bool)
    held[tube.tokens.cell.numpy()] = True
    frame = renderer.frame(tube.seconds).astype(float)
    cell = frame.shape[0] // rows
    shown = held.reshape(rows, columns).repeat(cell, 0).repeat(cell, 1)[..., None]
    axis.imshow(np.where(shown, frame, 0.15 * frame + 0.85 * 245).astype(np.uint8))
    axis.set_title(f"{now - tube.seconds:.0f} s ago: {tube.num_tokens} tokens", fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def draw_memory(axis, tubes, script, now):
    """Tokens of every tube that is held, by its age; the moments at which a text appears below."""
    for name, is_whole in (("whole", True), ("past", False)):
        chosen = [tube for tube in tubes if tube.is_whole == is_whole]
        label = "held whole" if is_whole else "thinned to their most telling tokens"
        ages = [now - tube.seconds for tube in chosen]
        axis.vlines(
            ages,
            0,
            [tube.num_tokens for tube in chosen],
            COLOURS[name],
            linewidth=1.4,
            label=f"{len(chosen)} tubes {label}",
        )
    appears = [now - shown.start_seconds for shown in script.texts if shown.start_seconds < now]
    axis.plot(appears, [-1.2] * len(appears), "|", color="black", markersize=7, label="a text appears")
    axis.set_xlim(now + 5, -5)
    axis.set_ylim(-2.4, None)
    axis.set_xlabel("seconds ago")
    axis.set_ylabel("tokens of a tube")
    seen = tubes[-1].number + 1
    held = sum(tube.num_tokens for tube in tubes)
    axis.set_title(
        f"{held:,} tokens of {len(tubes)} tubes, of {seen} that were seen", loc="left", fontsize=10
    )
    axis.legend(loc="upper left", frameon=False, fontsize=9)
    axis.spines[["right", "top"]].set_visible(False)


if __name__ == "__main__":
    main()
