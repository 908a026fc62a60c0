"""What a call is served with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framegate.config import FrontEndConfig
from framegate.models.mechanism import Mechanism


@dataclass(frozen=True, kw_only=True)
class Attached:
    """The model of a call and what is attached to it.

    Args:
        inner: the model without its language-model head.
        mechanism: its tower.
        config: the front end's configuration.
        head: the language-model head, None when the model has none.
        modules: the stages that are attached, in order.
        has_processor: a processor is attached beside the model.
    """

    inner: Any
    mechanism: Mechanism
    config: FrontEndConfig
    head: Any
    modules: Any
    has_processor: bool
