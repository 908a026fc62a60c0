"""What benchmarks/answers runs: series of presets and settings, each a point of a plot or a row of a table."""

from dataclasses import dataclass, field, replace

# the drop-in presets; what they send through the tower is what they keep, save where they spare it nothing
BASELINES = (
    *("random", "uniform_frames", "down_scaling", "rlt", "evs", "dtd", "stc"),
    *("gate", "grt", "grt_released", "kffocus"),
)
# rivals' rules before the tower with our refill behind it, and equal shares: the same road for all
REFILLED = ("random", "rlt", "evs", "dtd")
TOWERS, PROMPTS = (0.1, 0.25, 0.5, 1.0), (0.05, 0.1, 0.25, 0.5, 1.0)
FPS, RATES = 4, (1, 2, 4, 8, 16)
STILL = "still"
EQUAL_SHARES = {"select_rule": "equal_shares"}
MERGE = {
    "merge_rule": "merge",
    "divergence": "jensen_shannon",
    "divergence_threshold": 0.0693,
    "distribution": "features",
    "scene_cut_fraction": 0.8,
}
CONDENSE = {
    "light_ratio": 2,
    "strong_ratio": 4,
    "light_share": 0.25,
    "ratio_semantics": "stride",
    "relevance": "novelty",
    "key_tubes_only": False,
}


@dataclass(frozen=True)
class Run:
    """One evaluation: rows are told by series, name, shares and fps.

    preset and overrides go to `framegate.attach`; camera keeps the questions about videos of that camera alone; markers
    False takes the model's own markers of time out of the prompt; videos as for `evaluate`: what reads the question
    cannot share a video. scorer and sampling are names of answers/plans.py, for frames that are chosen by the question.
    """

    series: str
    name: str
    preset: str
    overrides: dict = field(default_factory=dict)
    camera: str | None = None
    markers: bool = True
    videos: str = "shared"
    scorer: str | None = None
    sampling: str | None = None

    @property
    def fps(self):
        """Frames a second; empty where another sampler has none."""
        return self.settings.get("fps", "")

    @property
    def settings(self):
        """Keywords of `attach`."""
        return ({"fps": FPS} if self.overrides.get("sampler", "fps") == "fps" else {}) | self.overrides

    @property
    def label(self):
        """Name of the file of results; a plain dense run is the same in every series."""
        plain = self.markers and self.videos == "shared" and "sampler" not in self.overrides
        if self.preset == "dense" and plain:
            return f"dense_{self.camera or 'all'}_{self.fps}"
        shares = [self.overrides.get(name, "") for name in ("tower_ratio", "keep_ratio")]
        parts = [self.series, self.name, *shares, self.fps]
        return "_".join(str(part) for part in parts if part != "").replace(" ", "-")


def of_default(series, name, tower=0.25, prompt=0.25, **changes):
    """The default preset at two shares, with something else than it has."""
    shares = {"tower_ratio": tower, "keep_ratio": prompt}
    return Run(series, name, "framegate", shares | changes)


def whole(series, rule, prompt):
    """The whole tower under a rule of selection."""
    settings = {"keep_ratio": prompt, "select_rule": rule}
    return Run(series, f"{rule}, whole tower", "vidcom2", settings)


def rival_of(run):
    """What a run of the headline is held against besides dense: VidCom2 at the same share of the prompt, or nothing."""
    prompt = run.overrides.get("keep_ratio")
    return whole(run.series, "vidcom2", prompt) if run.series == "budget" and prompt in PROMPTS[:-1] else None


def budget():
    """The headline: the default at both shares, and every baseline under the same account."""
    yield Run("budget", "dense", "dense")
    yield Run("budget", "no video", "dense", videos="none")
    for prompt in PROMPTS:
        for tower in TOWERS:
            # everything of both is the stock model
            if (tower, prompt) != (1.0, 1.0):
                yield of_default("budget", "framegate", tower, prompt)
    for prompt in PROMPTS[:-1]:
        for rule in ("equal_shares", "vidcom2"):
            yield whole("budget", rule, prompt)
        for name in BASELINES:
            # kffocus chooses frames of its own otherwise, and its share would be one of fewer tokens
            frames = {"sampler": "fps"} if name == "kffocus" else {}
            yield Run("budget", name, name, {"keep_ratio": prompt} | frames)
        for name in REFILLED:
            yield Run(
                "budget",
                f"{name}, refill",
                "random",
                {"tower_ratio": 0.25, "keep_ratio": prompt, "gate": {"rule": name, "refill": True}}
                | {"select": EQUAL_SHARES},
            )


def choices():
    """What the default could be: one thing changed at a time, at the two budgets of the headline."""
    for prompt in (0.25, 0.1):
        for name, changes in CHOICES.items():
            yield of_default("choices", name, 0.25, prompt, **(BEFORE | changes))


# what the default had when this series was to decide
BEFORE = {"context": "anchored"}
# what is changed -> settings over those
CHOICES = {
    "default": {},
    "weight luma": {"weight": "luma"},
    "pool max": {"residual_pool": "max"},
    "context kept": {"context": "kept"},
    "context kept, motion camera": {"context": "kept", "motion": "camera"},
    "max_age_tubes 8": {"max_age_tubes": 8},
    "min_tokens_per_tube 1": {"min_tokens_per_tube": 1},
    "search threshold": {"search": "threshold", "weight": "luma"},
    "no refill": {"refill": False},
    "rule change_floor": {"select_rule": "change_floor"},
    "rule vidcom2": {"select_rule": "vidcom2"},
    "rule latest": {"select_rule": "latest"},
    "rule windows": {"select_rule": "windows"},
    "rule random": {"select_rule": "random"},
    "merging behind refill": {"select": None, "scene_merge": MERGE},
    "condensation behind refill": {"select": None, "condensation": CONDENSE},
}


def query():
    """Rules that read the question; nothing of a video can then be shared between questions."""
    for prompt in (0.25, 0.1):
        for rule, asked in (("change_floor", False), ("change_floor", True)):
            select = {"select_rule": rule, "use_query": asked}
            name = f"{rule}{', question' if asked else ''}"
            yield replace(of_default("query", name, 0.25, prompt, select=select), videos="each")


def rates():
    """Accuracy and shares against frames per second: still camera, no budget but the threshold."""
    for fps in RATES:
        yield Run("fps", "dense", "dense", {"fps": fps}, camera=STILL)
        yield Run("fps", "gate", "gate", {"fps": fps}, camera=STILL)
        for least in (0, 1):
            settings = {"fps": fps, "min_tokens_per_tube": least}
            yield Run("fps", f"framegate, at least {least}", "framegate", settings, camera=STILL)


def markers():
    """Time in the prompt against none."""
    for name, settings in (("dense", {}), ("framegate", {"keep_ratio": 0.25})):
        for there in (True, False):
            yield Run("markers", f"{name}, {'marked' if there else 'none'}", name, settings, markers=there)


SERIES = {
    "budget": budget,
    "choices": choices,
    "query": query,
    "fps": rates,
    "markers": markers,
}
