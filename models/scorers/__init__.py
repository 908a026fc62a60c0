"""Scorers of frames that stand on models: what `scorer=` of a sampler takes. The models are the caller's own."""

from __future__ import annotations

from typing import Any, Literal, get_args

from framegate.errors import ConfigError, nearest
from framegate.models.scorers.image_text import ImageTextEncoder, TimmEncoder
from framegate.models.scorers.own_tower import OwnTower
from framegate.models.scorers.pseudo_labels import answers_by_frame, pseudo_labels
from framegate.models.scorers.screen_text import ScreenText
from framegate.models.scorers.yes_logit import YesLogit

ScorerName = Literal["tower", "yes_logit", "screen_text"]
SCORERS = get_args(ScorerName)

__all__ = [
    "SCORERS",
    "ImageTextEncoder",
    "OwnTower",
    "ScreenText",
    "TimmEncoder",
    "YesLogit",
    "answers_by_frame",
    "check_name",
    "pseudo_labels",
    "scorer_named",
]


def check_name(name: str | None) -> None:
    """Check a scorer's name, before a model is loaded.

    Args:
        name: of the scorer; None is no scorer.

    Raises:
        ConfigError: an unknown one.
    """
    if name is not None and name not in SCORERS:
        raise ConfigError(f"Unknown scorer {name!r}. {nearest(name, SCORERS)}")


def scorer_named(name: str, model: Any = None, processor: Any = None) -> Any:
    """Make a scorer by its name on the command line.

    Args:
        name: "tower" (the model's own), "yes_logit" (SeViLA's question to the model) or "screen_text" (what is read).
        model: that the question goes to; "screen_text" needs none.
        processor: its processor.

    Returns:
        The scorer.

    Raises:
        ConfigError: an unknown name, no model for one that needs it, or a package that is missing.
    """
    check_name(name)
    if name == "screen_text":
        return ScreenText()
    if model is None:
        raise ConfigError(f'scorer {name!r} asks a model, and none is loaded here; "screen_text" needs none.')
    return (OwnTower if name == "tower" else YesLogit)(model, processor)
