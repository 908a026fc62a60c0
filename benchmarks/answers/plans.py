"""The series `plans`: every frame sampler at the same number of prompt tokens, alone and in front of the gate.

Videos of two and five minutes whose texts stand for 1.5 to 3 seconds. A query comes to a sampler in one of three ways:
`text` scores frames by what RapidOCR reads in them, against the question by MiniLM; `yes` by what framegate/nano says
of each frame alone; `moment` gives settings of samplers that are told where to look: the time that a question names,
else the moment of the frame that `text` finds best.
"""

import hashlib
import json
import re
from functools import lru_cache

from answers.series import Run

import framegate
from framegate.models.scorers import ScreenText, YesLogit
from framegate.models.scorers.screen_text import rapid_reader
from framegate.tokenizers.clip import probe
from framegate.tokenizers.scoring import ScoredOnce

SIZE, PACE, SECONDS = "4x6", "slow", (120, 300)
# of those that the model answers: two name a time, one a text
KINDS = ("text_at", "appears", "grid", "appears")
QUESTIONS = 8
# frames of full size whose tokens a prompt holds, 12 each; behind the gate so many times as many are looked at
FRAMES, BEHIND_GATE = 16, 4
GATE = {"tower_ratio": 1 / BEHIND_GATE, "keep_ratio": 1 / BEHIND_GATE}
REFERENCE = Run("plans", "dense", "dense", {"sampler": "uniform", "num_frames": BEHIND_GATE * FRAMES})
# letters of the set are a fifth of a frame high
ENLARGED_PX = 128
CANDIDATES_FPS = 1.0
# looked at around a moment, on either side
AROUND_SECONDS = 1.0
_TIME = re.compile(r"at (\d+(?:\.\d+)?) seconds")


def plans():
    """Alone, then in front of the gate; uniform frames first, what others are held against."""
    yield REFERENCE
    for behind_gate in (False, True):
        most = FRAMES * (BEHIND_GATE if behind_gate else 1)
        for name, settings, asked in _choices(most):
            videos = "each" if asked else "shared"
            preset, shares = ("framegate", GATE) if behind_gate else ("dense", {})
            yield Run("plans", name, preset, settings | shares, videos=videos, **asked)


def twins_of(run):
    """What a run is held against: all frames that the gate looks at, and uniform frames under the run's own budget."""
    if run.name == "uniform":
        return REFERENCE, None
    same = (one for one in plans() if (one.name, one.preset) == ("uniform", run.preset))
    return REFERENCE, next(same)


def _choices(most):
    """Name, settings and how the query comes; frames that stand alone in a tube cost two."""
    scored = {"sampler": "tass", "num_frames": most, "fps": CANDIDATES_FPS}
    clips = {"sampler": "frame_to_clip", "num_frames": _of_clips(most), "fps": CANDIDATES_FPS}
    turns = {"sampler": "apex", "num_frames": most, "fps": CANDIDATES_FPS}
    # a fast frame is two cells of 24; a quarter of the tokens are theirs
    slow = {"sampler": "slow_fast", "fast_frames": 3 * most, "slow_frames": 3 * most // 4, "fps": 4.0}
    around = {"sampler": "local_resample", "initial_frames": most, "num_frames": most}
    yield "uniform", {"sampler": "uniform", "num_frames": most}, {}
    yield "clip_stride", {"sampler": "clip_stride", "max_frames": most}, {}
    yield "apollo", {"sampler": "apollo", "max_frames": most}, {}
    yield "keyframes", {"sampler": "keyframes", "num_frames": most}, {}
    yield "tass", scored, {}
    yield "frame_to_clip", clips, {}
    yield "apex", turns, {}
    yield "slow_fast", {"sampler": "slow_fast", "fast_frames": 12 * most, "fps": 4.0}, {}
    yield "spotlight", {"sampler": "spotlight", "num_frames": most // 2}, {}
    yield "tass, text", scored, {"scorer": "text"}
    yield "frame_to_clip, text", clips, {"scorer": "text"}
    yield "apex, text", turns, {"scorer": "text"}
    yield "yes_logit", {"sampler": "yes_logit", "num_frames": most, "num_candidates": 120}, {"scorer": "yes"}
    yield "slow_fast, moment", slow, {"sampling": "intervals"}
    yield "spotlight, moment", {"sampler": "spotlight", "num_frames": most // 4}, {"sampling": "between"}
    yield "local_resample, moment", around, {"sampling": "neighbours"}


def _of_clips(most):
    """Budget of frame_to_clip: most of its clips are a frame, which takes a whole tube."""
    return most // 2


class Asking:
    """Scorers and settings by question, made when a run first needs them; what OCR reads is kept in a file.

    Args:
        model: framegate/nano.
        processor: its processor.
        folder: of the file.
        load_judge: gives a pair of its own, for scores that no gate of a run has a part in.
    """

    def __init__(self, model, processor, folder, *, load_judge):
        self.model, self.processor, self.folder, self.load_judge = model, processor, folder, load_judge
        self._scorers = {}

    def arguments(self, run):
        """Keywords of `evaluate`."""
        scorer = run.scorer and self._scorer(run.scorer)
        sampling = run.sampling and getattr(self, run.sampling)
        return {"scorer": scorer, "sampling": sampling}

    def _scorer(self, name):
        make = {"text": self._text, "yes": self._yes}[name]
        if name not in self._scorers:
            self._scorers[name] = ScoredOnce(make(), max_videos=1 << 20)
        return self._scorers[name]

    def _text(self):
        return ScreenText(read=read_once(self.folder / "screen_text.jsonl"))

    def _yes(self):
        return YesLogit(*self.load_judge(), prompt="{query}", medium="video", mode="margin")

    def moment_seconds(self, question):
        """When to look: the time that the question names, else that of the frame whose text is most like it."""
        named = _TIME.search(question.question)
        if named:
            return float(named[1])
        best = {"num_frames": 1, "fps": CANDIDATES_FPS, "query": question.question}
        found = framegate.plan_frames(looked_at(question.path), "tass", scorer=self._scorer("text"), **best)
        return float(found.timestamps_seconds[0])

    def intervals(self, question):
        """For slow_fast: one interval around the moment."""
        return {"intervals": (self._stretch_seconds(question),)}

    def between(self, question):
        """For spotlight: one stretch around the moment, by numbers of frames."""
        times = looked_at(question.path).frame_times_seconds
        ends = (times.searchsorted(end) for end in self._stretch_seconds(question))
        return {"between": (tuple(min(int(end), len(times) - 1) for end in ends),)}

    def neighbours(self, question):
        """For local_resample: a first look, a second around its frame nearest to the moment; the run takes a third."""
        own = {"initial_frames": FRAMES, "num_frames": FRAMES}
        moment, video = self.moment_seconds(question), looked_at(question.path)

        def selected(plan):
            nearest = int(abs(plan.timestamps_seconds - moment).argmin())
            return {"current": plan, "selected": (nearest,)}

        first = framegate.plan_frames(video, "local_resample", **own)
        return selected(framegate.plan_frames(video, "local_resample", **own, **selected(first)))

    def _stretch_seconds(self, question):
        length = looked_at(question.path).duration_seconds
        middle = min(max(self.moment_seconds(question), AROUND_SECONDS), length - AROUND_SECONDS)
        return middle - AROUND_SECONDS, middle + AROUND_SECONDS


@lru_cache
def looked_at(path):
    """What is known of a file."""
    return probe(path)


def read_once(path):
    """RapidOCR, and a file of what it read in which frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = dict(map(json.loads, path.read_text().splitlines())) if path.exists() else {}
    reader = rapid_reader(enlarged_px=ENLARGED_PX)

    def read(frame):
        key = hashlib.blake2b(frame.tobytes(), digest_size=12).hexdigest()
        if key not in known:
            known[key] = reader(frame)
            with path.open("a") as file:
                file.write(json.dumps([key, known[key]]) + "\n")
        return known[key]

    return read
