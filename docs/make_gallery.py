"""Writes docs/gallery.md, docs/gallery.csv and docs/img/gallery_*.png: short clips, what was encoded, and the answers.

    python benchmarks/fetch_clips.py clips && python docs/make_gallery.py --clips clips

Needs the extra `eval`. Two clips ship, three are rendered with fonts and backgrounds that framegate/nano was not taught
(seeds 1 to 3, taken as they came), four are real clips, fetched by script, with texts and a marker rendered over them.
Pictures and videos of all of them land in out/gallery; of the fetched ones none is committed. `--page` writes the page
anew from the CSV; tests/test_site.py checks that it is what this writes.
"""

import argparse
import csv
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

import framegate
from framegate.provenance import commit
from framegate.tools.evaluation.ask import ask
from framegate.tools.evaluation.generator import SIZES_PX, clip_frames, write_video
from framegate.tools.evaluation.generator.asking import Asked, ask_about
from framegate.tools.evaluation.generator.render import Renderer
from framegate.tools.evaluation.generator.script import write_script
from framegate.tools.evaluation.metrics import score
from framegate.tools.view import plan_figures, write_view
from framegate.tools.view.figures import iter_tubes
from framegate.tools.view.stills import make_tile, write_sheet

DOCS = Path(__file__).parent
CSV, PAGE, OUT = DOCS / "gallery.csv", DOCS / "gallery.md", Path("out/gallery")
FPS = 4
# tower_ratio and keep_ratio of each column
SHARES = ((1.0, 1.0), (0.25, 0.25), (0.25, 0.1))
DRAWN = SHARES[1]
TILES, PICTURE_PX = 4, 1280
# the kinds that the dense model answers well
KINDS, QUESTIONS = ("text_at", "grid"), 4
CODES = Asked("text_at", "What text stands at 4.9 seconds?", "7HP")
ASSETS = resources.files("framegate") / "assets"
RENDERED = {"rendered-4x6": ("4x6", 1, 8), "rendered-6x10": ("6x10", 2, 12)}
RENDERED |= {"rendered-8x14": ("8x14", 3, 16)}
FETCHED = {"vtest.avi": "a fixed camera above a street", "vtest_pan.mp4": "the same, panned by a shaky hand"}
FETCHED |= {"bikes.mp4": "a street, fast, with cuts", "carphone_pristine.mp4": "a face in a moving car"}
TOLD = {
    "codes.mp4": "Ships in the package: a clip that the model is right about, chosen so.",
    "slides.mp4": "Ships in the package. The model was not taught to read slides: nothing is asked.",
    "rendered": "Rendered by seed {seed}, in fonts and before backgrounds that the model was not taught.",
    "fetched": "Fetched, with texts and a marker rendered over it: {what}. Its pictures are not passed on.",
}
OPENING = """# Gallery

Written by `python docs/make_gallery.py --clips clips`, which measures `docs/gallery.csv`. `framegate/nano` is asked
about each clip dense, with a quarter of the tower and of the prompt, and with a quarter of the tower and a tenth of the
prompt, at 4 frames a second. Questions were drawn by a seed and stand here right or wrong. They are examples: how often
the model is right about many videos, with intervals, stands under [results](results.md#answers-by-the-two-shares).

In the pictures cells that the tower encodes are clear and outlined, those that are shown again are blue; below them the
tokens of every tube over time, at a quarter of both shares. Which of these tokens the language model reads is chosen
behind the tower, and not drawn. `framegate view` and [a page to look at](guides/demo.md) draw the same of your video.
"""


def main():
    """Measure and draw, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--clips", type=Path, default=Path("clips"), help="folder of benchmarks/fetch_clips.py"
    )
    parser.add_argument("--page", action="store_true", help="only write the page anew from the CSV")
    given = parser.parse_args()
    if not given.page:
        missing = [name for name in FETCHED if not (given.clips / name).is_file()]
        if missing:
            parser.error(
                f"{given.clips} lacks {missing[0]}; run python benchmarks/fetch_clips.py {given.clips}"
            )
        measure(given.clips)
    PAGE.write_text(page(read()))
    print(f"wrote {PAGE}")


def measure(folder):
    """Make the clips, ask about them, and draw the plans."""
    OUT.mkdir(parents=True, exist_ok=True)
    model, processor = framegate.from_pretrained("framegate/nano", front_end="dense")
    framegate.front_end_of(model).detach()
    rows = []
    for name, kind, path, questions in clips(folder):
        draw(name, path, processor, is_committed=kind != "fetched")
        rows += rows_of(name, kind, path, questions, (model, processor))
        print(name)
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def clips(folder):
    """Name, kind, path and questions of each."""
    yield "codes.mp4", "ships", Path(str(ASSETS / "codes.mp4")), [CODES]
    yield "slides.mp4", "ships", Path(str(ASSETS / "slides.mp4")), []
    for name, (size, seed, seconds) in RENDERED.items():
        yield name, "rendered", *render(name, size, seed, seconds)
    for number, name in enumerate(FETCHED):
        yield name, "fetched", *render(name, "6x10", 10 + number, 10, folder / name)


def render(name, size, seed, seconds, background=None):
    """Write a video with its questions; a real clip may stand behind the texts."""
    script = write_script(seed, split="test", duration_seconds=float(seconds), size_px=SIZES_PX[size])
    pixels = None
    if background is not None:
        script = replace(script, look=replace(script.look, background="clip", style="box"))
        pixels = clip_frames(background, SIZES_PX[size], float(seconds))
    path = OUT / f"{stem(name)}.mp4"
    write_video(path, Renderer(script, pixels))
    return path, ask_about(script, seed, KINDS, QUESTIONS)


def rows_of(name, kind, path, questions, pair):
    """A row for every question and pair of shares; of a clip about which nothing is asked, one for every pair."""
    model, processor = pair
    for tower_ratio, keep_ratio in SHARES:
        settings = {"tower_ratio": tower_ratio, "keep_ratio": keep_ratio, "fps": FPS}
        config = framegate.load_config("framegate", **settings)
        figures = plan_figures(framegate.plan_video(path, config, processor=processor), config)
        shared = {
            "clip": name,
            "kind": kind,
            "tower_ratio": tower_ratio,
            "keep_ratio": keep_ratio,
            "seconds": round(figures.video_seconds, 2),
            "tubes": figures.num_tubes,
            "grid": "{} x {}".format(*figures.grid),
        }
        for asked in questions or [Asked("", "", "")]:
            if not asked.question:
                counts = {
                    "encoded": figures.kept_tokens,
                    "read": figures.prompt_tokens,
                    "said": "",
                    "correct": "",
                }
            else:
                with framegate.attach(model, processor, config):
                    told = ask(model, processor, video=str(path), question=asked.question, max_new_tokens=16)
                right = score(asked.kind, told.text, asked.answer)["correct"]
                counts = {
                    "encoded": told.report.encoded_cells,
                    "read": told.report.kept_tokens,
                    "said": told.text,
                    "correct": int(right),
                }
            yield {**shared, "question": asked.question, "answer": asked.answer, **counts, "commit": commit()}


def draw(name, path, processor, *, is_committed):
    """All pictures of a plan to out/gallery, and one for the page: a few tubes above the timeline."""
    tower_ratio, keep_ratio = DRAWN
    settings = {"tower_ratio": tower_ratio, "keep_ratio": keep_ratio, "fps": FPS}
    config = framegate.load_config("framegate", **settings)
    plan = framegate.plan_video(path, config, processor=processor)
    files = write_view(plan, OUT / stem(name), title=name, settings=settings, config=config)
    # the first tube is encoded whole
    chosen = set(np.linspace(1, len(plan.keep) - 1, TILES).round().astype(int).tolist())
    tiles = [
        make_tile(tube)
        for tube in iter_tubes(plan, config=config, with_rebuilt=False)
        if tube.index in chosen
    ]
    strip = OUT / stem(name) / "strip.png"
    write_sheet(tiles, strip)
    parts = [Image.open(part).convert("RGB") for part in (strip, files.timeline)]
    parts = [part.resize((PICTURE_PX, round(part.height * PICTURE_PX / part.width))) for part in parts]
    whole = Image.new("RGB", (PICTURE_PX, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    folder = DOCS / "img" if is_committed else OUT
    whole.quantize(64, dither=Image.Dither.NONE).save(folder / f"gallery_{stem(name)}.png", optimize=True)


def stem(name):
    """The name as files have it."""
    return "".join(letter if letter.isalnum() else "_" for letter in Path(name).stem)


def read():
    """The rows of the CSV."""
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def page(rows):
    """The text of docs/gallery.md."""
    names = list(dict.fromkeys(row["clip"] for row in rows))
    return "\n".join(
        [OPENING, *(section(name, [row for row in rows if row["clip"] == name]) for name in names)]
    )


def section(name, rows):
    """One clip: what it is, its picture, and its answers."""
    first = rows[0]
    told = TOLD.get(name, TOLD.get(first["kind"], ""))
    told = told.format(seed=RENDERED.get(name, (0, 0, 0))[1], what=FETCHED.get(name, ""))
    size = f"{float(first['seconds']):g} seconds, {first['tubes']} tubes of {first['grid']} cells."
    drawn = first["kind"] != "fetched"
    picture = f"\n![Tubes of {name}, and tokens over time](img/gallery_{stem(name)}.png)\n" if drawn else ""
    return f"## {name}\n\n{told} {size}\n{picture}\n{answers(rows)}\n"


def answers(rows):
    """The table of a clip: what is counted, then what is asked, in a column for each pair of shares."""
    columns = [[row for row in rows if shares_of(row) == shares] for shares in SHARES]
    heads = ["dense", *(f"tower {tower:.0%}, prompt {keep:.0%}" for tower, keep in SHARES[1:])]
    lines = ["| | | " + " | ".join(heads) + " |", "| --- | --- " + "| --- " * len(heads) + "|"]
    for title, column in (("cells encoded", "encoded"), ("tokens read", "read")):
        lines.append(f"| {title} | | " + " | ".join(f"{int(part[0][column]):,}" for part in columns) + " |")
    for number, row in enumerate(columns[0]):
        if row["question"]:
            said = " | ".join(spelled(part[number]) for part in columns)
            lines.append(f"| {row['question']} | {row['answer']} | {said} |")
    return "\n".join(lines)


def shares_of(row):
    """Both shares of a row."""
    return float(row["tower_ratio"]), float(row["keep_ratio"])


def spelled(row):
    """What was said, and whether it is right."""
    return f"{row['said']}" if row["correct"] == "1" else f"*{row['said'] or 'nothing'}*, wrong"


if __name__ == "__main__":
    main()
