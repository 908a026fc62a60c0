"""Scorers of frames that stand on models: what `scorer=` of a sampler takes. The models are the caller's own."""

from framegate.models.scorers.image_text import ImageTextEncoder, TimmEncoder
from framegate.models.scorers.own_tower import OwnTower
from framegate.models.scorers.pseudo_labels import answers_by_frame, pseudo_labels
from framegate.models.scorers.screen_text import ScreenText
from framegate.models.scorers.yes_logit import YesLogit

__all__ = [
    "ImageTextEncoder",
    "OwnTower",
    "ScreenText",
    "TimmEncoder",
    "YesLogit",
    "answers_by_frame",
    "pseudo_labels",
]
