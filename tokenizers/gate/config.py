"""Settings of the gate, validated when they are made, and the budget of one video as a count of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from framegate.errors import BudgetError, ConfigError, nearest
from framegate.tokenizers.gate.weights import WEIGHTS, default_threshold_of

Metric = Literal["mad", "ssim", "l2"]
Reference = Literal["anchor", "previous"]
Motion = Literal["camera", "none"]
Mode = Literal["drop", "reuse"]
Search = Literal["optimum", "threshold"]
ResidualPool = Literal["mean", "max"]

MOTION_RULE = "motion"
# what only the gate's own rule reads, and what it must be under another one
_OF_MOTION: dict[str, object] = {
    "metric": "mad",
    "weight": "luma",
    "residual_pool": "mean",
    "reference": "anchor",
    "motion": "none",
    "max_age_tubes": None,
    "keyframe_fraction": 0.8,
    "codec_keyframes": False,
    "search": "optimum",
}
# what a search over thresholds alone can do, on any device
_OF_THRESHOLD_SEARCH: dict[str, object] = {
    "weight": "luma",
    "residual_pool": "mean",
    "reference": "anchor",
    "motion": "none",
    "codec_keyframes": False,
}
DEFAULT_THRESHOLDS: dict[str, float] = {"ssim": 0.05, "l2": 0.3}


def _rules() -> Any:
    """The rules, which load numpy; the help of the command line asks for none of them."""
    return import_module("framegate.tokenizers.cell_rules")


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """How the gate decides which cells are encoded.

    Args:
        rule: "motion", what the rest of this describes; or one of tokenizers/cell_rules.py in its place, a
            rival's, which reads threshold, mode and seed alone.
        metric: "mad" mean absolute luma difference (0 to 255), "ssim" 1 - SSIM of luma over the cell (0 to 2,
            GRT's measure), "l2" Euclidean norm over the tube's normalised pixels (the released GRT code's).
        weight: what a change is worth to metric "mad", by its file in gate/weights: "luma" all alike, "contrast" fine
            contrast before smooth change. Camera motion is found on plain luma.
        residual_pool: "mean" over the cell, or "max" of its quarters' means, so that small changes count; "max" with
            metric "mad" only.
        threshold: a cell is encoded when its residual is above this; None takes the weight's, metric's or rule's own.
            Not used when a budget is given: the budget decides.
        reference: "anchor" compares with the content that was last encoded (error cannot drift),
            "previous" with the tube before (GRT as printed).
        motion: "camera" lets a tube try sub-pixel camera motion beside no motion, "none" does not.
        max_age_tubes: a cell is encoded again after this many tubes, None never.
        keyframe_fraction: a tube of which a larger share changed is encoded whole, in (0, 1].
        codec_keyframes: also encode whole the tubes that hold a codec I-frame.
        mode: "drop" skipped cells become no token; "reuse" every token stays and takes its anchor's patch
            embedding (what the released GRT code does; the tower's work is not reduced).
        refill: after the tower skipped cells are shown again, by their anchors' features; without it a skipped cell
            leaves the prompt. Not read by the gate itself.
        search: how a budget is met: "optimum" by the plan with the least error, on the CPU; "threshold" by the causal
            gate at the lowest of 576 thresholds that fits, filled up by residual, where the pixels are. The latter
            needs reference "anchor", motion "none" and no codec_keyframes.
        seed: of the rule "random", 0 or above.

    Raises:
        ConfigError: a value out of range, an unknown rule or weight, a rule with settings that it does not read,
            "reuse" together with camera motion or refill, a weight or pool, or a search by threshold with settings
            that they do not go with.

    Source: GRT (arXiv 2509.14199) section 3.
    """

    rule: str = MOTION_RULE
    metric: Metric = "mad"
    weight: str = "luma"
    residual_pool: ResidualPool = "mean"
    threshold: float | None = None
    reference: Reference = "anchor"
    motion: Motion = "camera"
    max_age_tubes: int | None = None
    keyframe_fraction: float = 0.8
    codec_keyframes: bool = False
    mode: Mode = "drop"
    refill: bool = False
    search: Search = "optimum"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (
            ("metric", Metric),
            ("residual_pool", ResidualPool),
            ("reference", Reference),
            ("motion", Motion),
            ("mode", Mode),
            ("search", Search),
        ):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(
                    f"gate.{name} is {getattr(self, name)!r}; it must be one of {get_args(choices)}."
                )
        if self.threshold is not None and not self.threshold >= 0:
            raise ConfigError(f"gate.threshold is {self.threshold}; it must be 0 or more, or None.")
        if self.max_age_tubes is not None and self.max_age_tubes < 1:
            raise ConfigError(
                f"gate.max_age_tubes is {self.max_age_tubes}; it must be at least 1 tube, or None for no limit."
            )
        if not 0 < self.keyframe_fraction <= 1:
            raise ConfigError(f"gate.keyframe_fraction is {self.keyframe_fraction}; it must be in (0, 1].")
        if self.mode == "reuse" and self.motion == "camera":
            raise ConfigError(
                'gate.mode "reuse" takes embeddings from the same grid cell: set gate.motion to "none".'
            )
        if self.mode == "reuse" and self.refill:
            raise ConfigError('gate.refill needs mode "drop": "reuse" gives every cell a token already.')
        self._check_weight()
        self._check_rule()
        self._check_search()

    def _check_weight(self) -> None:
        if self.weight not in WEIGHTS:
            raise ConfigError(f"Unknown gate.weight {self.weight!r}. {nearest(str(self.weight), WEIGHTS)}")
        for name, plain in (("weight", "luma"), ("residual_pool", "mean")):
            if getattr(self, name) != plain and self.metric != "mad":
                raise ConfigError(
                    f'gate.{name} {getattr(self, name)!r} goes with gate.metric "mad", not {self.metric!r}: set that, '
                    f"or gate.{name} to {plain!r}."
                )

    def _check_search(self) -> None:
        if self.search != "threshold":
            return
        wrong = [
            f"gate.{name} {needed!r}, not {getattr(self, name)!r}"
            for name, needed in _OF_THRESHOLD_SEARCH.items()
            if getattr(self, name) != needed
        ]
        if wrong:
            raise ConfigError(
                f'gate.search "threshold" needs {" and ".join(wrong)}; set that, or gate.search to "optimum".'
            )

    def _check_rule(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"gate.seed is {self.seed}; it must be 0 or above.")
        if self.rule == MOTION_RULE:
            return
        known = (MOTION_RULE, *_rules().cell_rule_names())
        if self.rule not in known:
            raise ConfigError(f"Unknown gate.rule {self.rule!r}. {nearest(str(self.rule), known)}")
        for name, needed in _OF_MOTION.items():
            if getattr(self, name) != needed:
                raise ConfigError(
                    f"gate.rule {self.rule!r} does not read gate.{name}, which is {getattr(self, name)!r}: "
                    f"set it to {needed!r}."
                )
        if self.threshold is not None and not self.compares:
            raise ConfigError(
                f"gate.rule {self.rule!r} has no threshold, and gate.threshold is {self.threshold}: set it to None."
            )

    @property
    def is_plain(self) -> bool:
        """True where cells are compared in place alone, one by one, so that any device can."""
        return self.rule == MOTION_RULE and all(
            getattr(self, name) == needed for name, needed in _OF_THRESHOLD_SEARCH.items()
        )

    @property
    def compares(self) -> bool:
        """True for another rule that compares tubes in colour; the motion gate judges luma."""
        return self.rule != MOTION_RULE and _rules().cell_rule(self.rule).compares

    @property
    def has_threshold(self) -> bool:
        """True where cells can be decided on without a budget."""
        return self.rule == MOTION_RULE or self.threshold is not None or self._default_threshold is not None

    @property
    def resolved_threshold(self) -> float:
        """The threshold in use: the one set, or the default of the metric or the rule."""
        threshold = self._default_threshold if self.threshold is None else self.threshold
        assert threshold is not None, "FrontEndConfig asks for a budget"
        return threshold

    @property
    def _default_threshold(self) -> float | None:
        if self.rule != MOTION_RULE:
            return _rules().cell_rule(self.rule).threshold
        return default_threshold_of(self.weight) if self.metric == "mad" else DEFAULT_THRESHOLDS[self.metric]


_ROUNDING_GUARD = 1e-9


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a video may cost.

    Args:
        keep_ratio: share of all cells that is kept, exactly; None for no such budget.
        max_tokens: cap; it only ever lowers the count, and is met exactly where it does.
    """

    keep_ratio: float | None = None
    max_tokens: int | None = None

    def exact(self, dense_tokens: int) -> int | None:
        """Count the cells that keep_ratio asks for, rounded half up and capped; None without one.

        Raises:
            BudgetError: keep_ratio is less than one token of this video.
        """
        if self.keep_ratio is None:
            return None
        tokens = math.floor(self.keep_ratio * dense_tokens + 0.5 + _ROUNDING_GUARD)
        if tokens < 1:
            raise BudgetError(
                f"keep_ratio {self.keep_ratio} of this video's {dense_tokens} tokens is less than one token; "
                f"use at least {1 / dense_tokens:.2g}."
            )
        return (
            min(tokens, dense_tokens)
            if self.max_tokens is None
            else min(tokens, dense_tokens, self.max_tokens)
        )

    def most(self, dense_tokens: int) -> int:
        """Say the most tokens that a video may cost: what keep_ratio asks for, as `exact`, else the cap, else all."""
        exact = self.exact(dense_tokens)
        if exact is not None:
            return exact
        return dense_tokens if self.max_tokens is None else min(dense_tokens, self.max_tokens)

    def replaced_threshold(self, found: int) -> str:
        """Tell that the cap was met in place of a threshold that would have kept `found` cells."""
        return f"max_video_tokens {self.max_tokens} replaced the threshold, which would have kept {found}"
