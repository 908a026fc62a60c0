"""What benchmarks/answers runs: series of presets and settings, each a point of a plot or a row of a table."""

from dataclasses import dataclass, field

BASELINES = (
    *("random", "uniform_frames", "down_scaling", "rlt", "evs", "dtd", "vidcom2"),
    *("grt", "grt_released", "kffocus"),
)
METHODS = ("framegate", "gate", *BASELINES)
RATIOS = (0.5, 0.25, 0.1, 0.05)
FPS = (1, 2, 4, 8, 16)
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
TOWERS, PROMPTS = (0.1, 0.25, 0.5), (0.1, 0.25)
WEIGHTS, CONTEXTS = ("contrast", "luma"), ("kept", "anchored")
SELECT_RULES = ("equal_shares", "change_floor", "vidcom2")
STILL = "still"


@dataclass(frozen=True)
class Run:
    """One evaluation: the row is named (series, name, keep_ratio, fps) in the table.

    preset and overrides go to `framegate.attach`; camera keeps the questions about videos of that camera alone; markers
    False takes the model's own markers of time out of the prompt.
    """

    series: str
    name: str
    preset: str
    overrides: dict = field(default_factory=dict)
    camera: str | None = None
    markers: bool = True

    @property
    def label(self):
        """Name of the file of results; a plain dense run is the same in every series."""
        if self.preset == "dense" and self.markers:
            return f"dense_{self.camera or 'all'}_{self.overrides['fps']}"
        shares = [self.overrides.get(name, "") for name in ("tower_ratio", "keep_ratio")]
        parts = [self.series, self.name, *shares, self.overrides["fps"]]
        return "_".join(str(part) for part in parts if part != "").replace(" ", "-")


def budget():
    """Accuracy against tokens, per method."""
    yield Run("budget", "dense", "dense", {"fps": 4})
    for name in METHODS:
        for ratio in RATIOS:
            # kffocus chooses frames of its own otherwise, and its share would be one of fewer tokens
            frames = {"sampler": "fps"} if name == "kffocus" else {}
            yield Run("budget", name, name, {"fps": 4, "keep_ratio": ratio} | frames)


def rates():
    """Accuracy, tokens and seconds against frames per second: still camera, no budget but the threshold."""
    for fps in FPS:
        for name in ("dense", "framegate", "gate"):
            yield Run("fps", name, name, {"fps": fps}, camera=STILL)


def context():
    """What a kept patch sees: kept patches, or anchors too (which need motion 'none' in this family)."""
    for ratio in (0.25, 0.1):
        for kind in ("kept", "anchored"):
            settings = {"fps": 4, "keep_ratio": ratio, "context": kind, "gate": {"motion": "none"}}
            yield Run("context", kind, "gate", settings)


def composed(tower, prompt, *, weight, context, rule="equal_shares", refill=True):
    """Settings of one composition of gate, refill and selection; anchored context follows cells in place."""
    gate = {"refill": refill, "weight": weight} | ({"motion": "none"} if context == "anchored" else {})
    shares = {"fps": 4, "tower_ratio": tower, "keep_ratio": prompt, "context": context}
    return shares | {"gate": gate, "select": {"select_rule": rule}}


def whole(rule, prompt):
    """The whole tower under a rule of selection."""
    return Run(
        "shares", f"{rule}, whole tower", "vidcom2", {"fps": 4, "keep_ratio": prompt, "select_rule": rule}
    )


def shares():
    """Both shares, refill or none, weights of change, what kept patches see, and rules of selection."""
    yield Run("shares", "dense", "dense", {"fps": 4})
    for prompt in PROMPTS:
        yield whole("vidcom2", prompt)
        yield whole("equal_shares", prompt)
        for weight in WEIGHTS:
            for context in CONTEXTS:
                for tower in TOWERS:
                    for refill in (True, False):
                        if refill or prompt <= tower:
                            name = f"{weight}, {context}, {'refill' if refill else 'drop'}"
                            settings = composed(tower, prompt, weight=weight, context=context, refill=refill)
                            yield Run("shares", name, "gate", settings)


def rules():
    """Rules of selection on the filled grid."""
    yield Run("rules", "dense", "dense", {"fps": 4})
    for prompt in PROMPTS:
        for rule in SELECT_RULES:
            settings = composed(0.25, prompt, weight="contrast", context="anchored", rule=rule)
            yield Run("rules", rule, "gate", settings)


def ablation():
    """The gate, and what is put behind it."""
    stages = {
        "gate": ("gate", {}),
        "gate + merge": ("gate", {"scene_merge": MERGE}),
        "gate + condensation": ("gate", {"condensation": CONDENSE}),
        "gate + merge + condensation": (
            "gate",
            {"scene_merge": MERGE, "condensation": CONDENSE},
        ),
        "gate + areas": ("gate", {"scales": [1, 2, 4]}),
    }
    for ratio in (0.25, 0.1):
        for name, (preset, settings) in stages.items():
            yield Run("ablation", name, preset, {"fps": 4, "keep_ratio": ratio} | settings)


def markers():
    """Time in the prompt against none."""
    for name, ratio in (("dense", None), ("framegate", 0.25)):
        settings = {"fps": 4} | ({} if ratio is None else {"keep_ratio": ratio})
        for there in (True, False):
            yield Run("markers", f"{name}, {'marked' if there else 'none'}", name, settings, markers=there)


SERIES = {
    "shares": shares,
    "rules": rules,
    "budget": budget,
    "fps": rates,
    "context": context,
    "ablation": ablation,
    "markers": markers,
}
