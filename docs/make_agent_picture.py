"""Draws docs/img/agent.png: a scripted trajectory of FrameThinker on the shipped clip, turn by turn over its time.

    python docs/make_agent_picture.py

The turns are written by hand, what they bring is the loop's: no model is loaded.
"""

from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.page import thumbnails
from framegate.tools.agents.speakers import scripted
from framegate.tools.view.overlay import LIGHT, font

OUT = Path(__file__).parent / "img" / "agent.png"
QUESTION = "What is the order code at 10 seconds?"
SCRIPT = (
    "<think>The code stands in 106. Where is second 10?</think>\n<action>get frame number at time 00:10</action>",
    "<think>Frame 100: look from 92 to 116</think>\n<action>choose frames between 92 and 116</action>",
    "<think>The code stands there from frame 96 on.</think>\n<action>output answer: 7316</action>",
)
WIDTH, LEFT, RIGHT, TOP = 1240, 20, 20, 46
PICTURE_HEIGHT, AXIS_HEIGHT, TEXT_HEIGHT, GAP = 84, 30, 44, 16


def main():
    """Run the script, draw a band for every turn."""
    clip = resources.files("framegate") / "assets" / "slides.mp4"
    episode = run_agent(scripted(SCRIPT), clip, QUESTION, "frame_thinker")
    pictures = thumbnails(episode, height_px=PICTURE_HEIGHT)
    heights = [band_height(turn) for turn in episode.turns]
    image = Image.new("RGB", (WIDTH, TOP + sum(heights)), LIGHT.ground)
    draw = ImageDraw.Draw(image)
    draw.text(
        (LEFT, TOP // 2), f"{QUESTION}  FrameThinker, scripted", font=font(20), fill=LIGHT.ink, anchor="lm"
    )
    top = TOP
    for number, (turn, height) in enumerate(zip(episode.turns, heights, strict=True), start=1):
        band(image, draw, episode, turn, number, top, pictures)
        top += height
    image.quantize(128, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} kB, {image.size[0]} x {image.size[1]}")


def band_height(turn):
    """Of a turn: its frames with their places in time, if it has any, and what it wrote."""
    frames = 0 if turn.looked_at is None else PICTURE_HEIGHT + AXIS_HEIGHT
    return 24 + frames + TEXT_HEIGHT + GAP


def band(image, draw, episode, turn, number, top, pictures):
    """What was shown for a turn, and what it wrote."""
    draw.line([(LEFT, top), (WIDTH - RIGHT, top)], fill=LIGHT.line)
    shown = turn.told or f"{len(turn.looked_at)} frames, by their numbers"
    draw.text((LEFT, top + 14), f"turn {number}", font=font(15), fill=LIGHT.ink, anchor="lm")
    draw.text((LEFT + 60, top + 14), shown, font=font(15), fill=LIGHT.faint, anchor="lm")
    top += 26
    if turn.looked_at is not None:
        strip(image, draw, episode, turn, top, pictures)
        top += PICTURE_HEIGHT + AXIS_HEIGHT
    for line in turn.text.splitlines():
        colour = LIGHT.again if line.startswith("<action>") else LIGHT.ink
        draw.text((LEFT, top + 12), line, font=font(16), fill=colour, anchor="lm")
        top += 20


def strip(image, draw, episode, turn, top, pictures):
    """Thumbnails in a row, each with a line to its place on the axis of the whole video."""
    plan, floor = turn.looked_at, top + PICTURE_HEIGHT + AXIS_HEIGHT - 8
    span = WIDTH - LEFT - RIGHT
    draw.line([(LEFT, floor), (WIDTH - RIGHT, floor)], fill=LIGHT.faint, width=2)
    step = span / len(plan)
    for place, (index, seconds) in enumerate(
        zip(plan.indices.tolist(), plan.timestamps_seconds.tolist(), strict=True)
    ):
        picture = Image.fromarray(np.asarray(pictures[index]))
        left = round(LEFT + place * step)
        image.paste(picture, (left, top))
        words = f"{index}"
        draw.rectangle([left, top, left + 10 + 9 * len(words), top + 18], fill=LIGHT.ink)
        draw.text((left + 5, top + 9), words, font=font(14), fill=LIGHT.ground, anchor="lm")
        x = LEFT + seconds / episode.video.duration_seconds * span
        draw.line([(left + picture.width / 2, top + PICTURE_HEIGHT), (x, floor)], fill=LIGHT.kept, width=1)
        draw.ellipse([x - 3, floor - 3, x + 3, floor + 3], fill=LIGHT.kept)


if __name__ == "__main__":
    main()
