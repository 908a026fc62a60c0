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
        parts = [self.series, self.name, self.overrides.get("keep_ratio", ""), self.overrides["fps"]]
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


def ablation():
    """The gate, and what is put behind it."""
    stages = {
        "gate": ("gate", {}),
        "gate + merge": ("gate", {"scene_merge": MERGE, "gate_headroom": 1.5}),
        "gate + condensation": ("gate", {"condensation": CONDENSE, "gate_headroom": 1.5}),
        "gate + merge + condensation": (
            "gate",
            {"scene_merge": MERGE, "condensation": CONDENSE, "gate_headroom": 1.5},
        ),
        "gate + areas": ("framegate", {}),
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


SERIES = {"budget": budget, "fps": rates, "context": context, "ablation": ablation, "markers": markers}
