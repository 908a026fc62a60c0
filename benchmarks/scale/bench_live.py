"""A live session for two hours of an accelerated clock, and what it answers about now and about minutes ago.

    python benchmarks/scale/bench_live.py soak       about ten minutes of a core; writes results/live_soak.csv
    python benchmarks/scale/bench_live.py answers    about ten minutes of a core; writes results/live_answers.csv

Both follow rendered video (test split) as a recorder writes it, in segments whose clocks start anew each, with
framegate/nano and its default front end. The soak has a row a minute: what is held, the process's memory, and prompt
and positions of a question; it is asked every five minutes. Answers are to "What text stands at {now-90} seconds?" by
how long ago it stood, of all that is held and of the half minute around the moment alone (ago_seconds), in streams of
one and of four minutes, a frame a second, whose texts stand for 6 to 20 seconds; the largest budget holds all whole.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import av
from common import environment, write_csv

import framegate
from framegate.tools.evaluation.generator.render import Renderer
from framegate.tools.evaluation.generator.script import write_script

RESULTS = Path(__file__).parent / "results"
SIZE_PX = (192, 128)
# the soak: segments of the same few minutes again and again
SOAK_MINUTES, SOAK_FPS, SOAK_TOKENS, SOAK_SEGMENTS, SOAK_SECONDS = 120, 4.0, 1024, 20, 30.0
ASK_EVERY_MINUTES = 5
# answers
ANSWERS_FPS, SEGMENT_SECONDS, ALL = 1.0, 10.0, 100_000
# seconds of a stream: videos, when it is asked, how long ago, and what is held
STREAMS = {
    60: (8, (40, 48, 56), (0, 10, 20, 30), (192, 256, ALL)),
    240: (6, (200, 220, 236), (0, 20, 60, 120, 180), (512, 1024, ALL)),
}
STANDS_SECONDS, MARGIN_SECONDS = 3.0, 1.0
# a part of what is held: from so long before to so long behind the moment that is asked about
AROUND_SECONDS = 15.0


def rendered(folder, script, seconds, fps):
    """Write a script as segments of so many seconds, each with a clock of its own, of the frames alone that are read.

    Returns their paths.
    """
    renderer, paths, each = Renderer(script), [], round(seconds * fps)
    for number in range(math.ceil(script.duration_seconds / seconds)):
        paths.append(folder / f"{script.seed}-{number:03d}.mp4")
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "14"})
            stream.width, stream.height, stream.pix_fmt = script.width_px, script.height_px, "yuv420p"
            for index in range(each):
                picture = renderer.frame(number * seconds + index / fps)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return paths


@contextmanager
def following(segments, **settings):
    """A session with framegate/nano that is advanced by hand."""
    model, processor = framegate.from_pretrained("framegate/nano", front_end="framegate")
    with framegate.open_session(model, processor, segments, background=False, **settings) as session:
        yield session


def resident_mib():
    """Memory of the process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def soak(minutes):
    """A row a minute."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        script = write_script(
            0, split="test", pace="slow", duration_seconds=SOAK_SEGMENTS * SOAK_SECONDS, size_px=SIZE_PX
        )
        paths = rendered(Path(folder), script, SOAK_SECONDS, SOAK_FPS)
        count = math.ceil(minutes * 60 / SOAK_SECONDS) + 1
        coming = (paths[number % len(paths)] for number in range(count))
        with following(coming, fps=SOAK_FPS, max_video_tokens=SOAK_TOKENS, horizon_seconds=540.0) as session:
            mechanism = framegate.front_end_of(session.model)._attached.mechanism
            for minute in range(1, minutes + 1):
                session.advance(minute * 60.0)
                if minute % ASK_EVERY_MINUTES == 1:
                    session.ask("What text stands at {now-30} seconds?", max_new_tokens=8)
                inputs = session.inputs("What text stands at {now-30} seconds?")
                positions = mechanism.positions(dict(inputs), inputs["attention_mask"])
                rows.append(
                    {
                        "minute": minute,
                        "seen_tubes": session.memory.tubes[-1].number + 1,
                        "held_tubes": len(session.memory.tubes),
                        "held_tokens": session.num_tokens,
                        "max_video_tokens": SOAK_TOKENS,
                        "held_mib": round(session.memory.num_bytes / 2**20, 3),
                        "resident_mib": round(resident_mib(), 1),
                        "prompt_tokens": prompt_tokens(inputs, session),
                        "highest_position": int(positions.max()),
                        "oldest_seconds_ago": round(session.seconds - session.memory.tubes[0].seconds, 1),
                        "warnings": len(session.warnings),
                    }
                    | environment()
                    | {"command": "python benchmarks/scale/bench_live.py soak"}
                )
                print(rows[-1], flush=True)
    write_csv(RESULTS / "live_soak.csv", rows)


def prompt_tokens(inputs, session):
    """Tokens that the language model reads: those of text, and those that are held."""
    config = session.model.config
    text = int((inputs["input_ids"] != config.video_token_id).sum())
    return text + inputs["framegate_stored"].tokens.num_tokens


def answers():
    """A row per length, budget and age."""
    rows = []
    for seconds, (videos, moments, ages, budgets) in STREAMS.items():
        right = defaultdict(list)
        for number in range(videos):
            with tempfile.TemporaryDirectory() as folder:
                script = write_script(
                    700_021 + number,
                    split="test",
                    pace="lasting",
                    duration_seconds=float(seconds),
                    size_px=SIZE_PX,
                )
                paths = rendered(Path(folder), script, SEGMENT_SECONDS, ANSWERS_FPS)
                for budget in budgets:
                    with following(paths, fps=ANSWERS_FPS, max_video_tokens=budget) as session:
                        for found in asked(session, script, moments, ages):
                            right[budget, found["age_seconds"]].append(found)
        for (budget, age), found in sorted(right.items()):
            means = {name: statistics.mean(one[name] for one in found) for name in found[0]}
            rows.append(
                {
                    "stream_seconds": seconds,
                    "max_video_tokens": budget,
                    "age_seconds": age,
                    "questions": len(found),
                    "correct": round(means["correct"], 4),
                    "correct_of_part": round(means["correct_of_part"], 4),
                    "held_tokens": round(means["held_tokens"]),
                    "seen_tokens": round(means["seen_tokens"]),
                    "prompt_tokens": round(means["prompt_tokens"]),
                    "tower_share": round(means["tower_share"], 4),
                    "videos": videos,
                }
                | environment()
                | {"command": "python benchmarks/scale/bench_live.py answers"}
            )
            print(rows[-1], flush=True)
    write_csv(RESULTS / "live_answers.csv", rows)


def asked(session, script, moments, ages):
    """Ask at some moments about what stood so long ago, where a text did."""
    front_end = framegate.front_end_of(session.model)
    for moment in moments:
        session.advance(float(moment))
        for age in ages:
            text, ago = standing(script, session.seconds, age)
            if text is None:
                continue
            question, part = f"What text stands at {{now-{ago:.1f}}} seconds?", (ago + AROUND_SECONDS, 0.0)
            if ago > AROUND_SECONDS:
                part = (ago + AROUND_SECONDS, ago - AROUND_SECONDS)
            of_part = session.ask(question, ago_seconds=part, max_new_tokens=8)
            answer = session.ask(question, max_new_tokens=8)
            report = front_end.report
            yield {
                "age_seconds": age,
                "correct": answer == text,
                "correct_of_part": of_part == text,
                "held_tokens": report.kept_tokens,
                "seen_tokens": report.dense_tokens,
                "prompt_tokens": prompt_tokens(session.inputs("?"), session),
                "tower_share": report.tower_ratio,
            }


def standing(script, now_seconds, age_seconds):
    """The text nearest to so long ago that stands for long enough, and how long ago its middle was; None for none."""
    found = []
    for shown in script.texts:
        # of a text that stands now, what was seen of it
        end = min(shown.end_seconds, now_seconds)
        if end - shown.start_seconds >= STANDS_SECONDS:
            middle = min(
                max(now_seconds - age_seconds, shown.start_seconds + MARGIN_SECONDS), end - MARGIN_SECONDS
            )
            found.append((abs(now_seconds - age_seconds - middle), shown.text, now_seconds - middle))
    if not found or min(found)[0] > max(2.0, 0.1 * age_seconds):
        return None, 0.0
    _, text, ago = min(found)
    return text, round(max(ago, 0.0), 1)


def main():
    """Run a part, and write its CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("soak", "answers"))
    parser.add_argument("--minutes", type=int, default=SOAK_MINUTES)
    options = parser.parse_args()
    if options.part == "soak":
        soak(options.minutes)
    else:
        answers()


if __name__ == "__main__":
    main()
