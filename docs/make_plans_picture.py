"""Draws docs/img/plans.png: what every sampler takes of the shipped clip, about sixteen frames each.

    pip install "framegate[ocr]" && python docs/make_plans_picture.py

Samplers that read a query score what stands in the frames against it, by RapidOCR and MiniLM; those that are told where
to look are told the moment of the best frame. A bar is a frame, as high as its scale; groups have colours in turns.
"""

from importlib import resources
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import framegate
from framegate.models.scorers import ScreenText
from framegate.models.scorers.screen_text import rapid_reader
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.samplers import tells_clips
from framegate.tokenizers.scoring import ScoredOnce
from framegate.types import FramePlan

OUT = Path(__file__).parent / "img" / "plans.png"
QUERY = "What is the order code?"
FRAMES, CANDIDATES_FPS, AROUND_SECONDS = 16, 2.0, 1.5
# letters of the clip are read at its own size
ENLARGED_PX = 360
THUMBNAILS, THUMBNAIL_PX = 13, (54, 96)
COLOURS = ("#e8710a", "#4285c8")
DPI = 90


def main():
    """Plan and draw."""
    clip = Path(str(resources.files("framegate") / "assets" / "slides.mp4"))
    info = probe(clip)
    plans, moment_seconds = chosen(clip, info)
    mpl.rcParams["font.family"] = "DejaVu Sans"
    figure, (strip, axis) = plt.subplots(
        2, figsize=(10, 5.4), height_ratios=(1, 7), sharex=True, layout="constrained"
    )
    for seconds, picture in thumbnails(clip, info):
        half = info.duration_seconds / THUMBNAILS / 2
        strip.imshow(picture, extent=(seconds - half, seconds + half, 0, 1), aspect="auto")
    strip.set_ylim(0, 1)
    strip.axis("off")
    strip.set_title(f"slides.mp4, asked: {QUERY}", loc="left", fontsize=10)
    for place, (name, plan) in enumerate(plans.items()):
        draw(axis, -place, plan)
        axis.text(-0.2, -place + 0.35, name, ha="right", va="center", fontsize=9)
    axis.axvline(moment_seconds, color="grey", linewidth=0.8, linestyle=":")
    axis.set_xlim(0, info.duration_seconds)
    axis.set_ylim(1 - len(plans) - 0.2, 1)
    axis.set_yticks([])
    axis.spines[["left", "right", "top"]].set_visible(False)
    axis.set_xlabel("seconds; dotted: the frame that is most like the question")
    figure.savefig(OUT, dpi=DPI, pil_kwargs={"optimize": True})
    print(f"wrote {OUT}")


def chosen(clip, info):
    """A plan of every sampler, and the moment of the frame that is most like the query."""
    asked = {"query": QUERY, "scorer": ScoredOnce(ScreenText(read=rapid_reader(enlarged_px=ENLARGED_PX)))}
    scored = {"fps": CANDIDATES_FPS, "num_frames": FRAMES} | asked
    best = framegate.plan_frames(info, "tass", **scored | {"num_frames": 1})
    moment = float(best.timestamps_seconds[0])
    interval = (max(moment - AROUND_SECONDS, 0.0), min(moment + AROUND_SECONDS, info.duration_seconds))
    stretch = tuple(int(np.searchsorted(info.frame_times_seconds, end)) for end in interval)
    first = framegate.plan_frames(info, "local_resample", initial_frames=FRAMES // 2)
    nearest = int(np.abs(first.timestamps_seconds - moment).argmin())
    settings = {
        "uniform": {"num_frames": FRAMES},
        "fps": {"fps": FRAMES / info.duration_seconds},
        "clip_stride": {"clip_frames": info.num_frames // FRAMES},
        "apollo": {"max_frames": FRAMES},
        "keyframes": {"num_frames": FRAMES},
        "tass": scored,
        "frame_to_clip": scored,
        "apex": scored,
        "yes_logit": asked | {"num_candidates": 50, "num_frames": 4},
        "slow_fast": {"fps": CANDIDATES_FPS, "slow_frames": 8, "intervals": (interval,)},
        "spotlight": {"num_frames": FRAMES // 2, "between": (stretch,)},
        "local_resample": {"num_frames": FRAMES // 2, "current": first, "selected": (nearest,)},
    }
    names = {name: f"{name}, clips" if tells_clips(name) else name for name in settings}
    return {names[name]: framegate.plan_frames(clip, name, **own) for name, own in settings.items()}, moment


def thumbnails(clip, info):
    """Small pictures, evenly spread: time of the middle, and pixels."""
    middles = (np.arange(THUMBNAILS) + 0.5) * info.duration_seconds / THUMBNAILS
    shown = np.searchsorted(info.frame_times_seconds, middles, side="right") - 1
    plan = FramePlan.from_indices(shown, info.frame_times_seconds)
    with open_video(clip) as stream:
        for middle, frame in zip(middles, stream.frames(plan, size_px=THUMBNAIL_PX), strict=True):
            yield middle, frame.pixels


def draw(axis, floor, plan):
    """A line of bars, groups in turns of two colours."""
    axis.axhline(floor, color="#d9d9d9", linewidth=0.8)
    order = np.unique(plan.group, return_inverse=True)[1]
    for seconds, scale, number in zip(plan.timestamps_seconds, plan.scale, order, strict=True):
        axis.vlines(seconds, floor, floor + 0.75 * scale, color=COLOURS[number % 2], linewidth=2)


if __name__ == "__main__":
    main()
