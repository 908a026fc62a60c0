"""Attach a front end to a model and its processor, and find the one that a model has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, UnsupportedModelError
from framegate.models.attachment.front_end import OWNER, FrontEnd
from framegate.models.attachment.on_model import build_modules
from framegate.models.attachment.serving import scaling_of
from framegate.models.families import family_of, unwrap
from framegate.models.mechanism import mechanism_of
from framegate.models.towers.offloaded import check_brought
from framegate.models.video_processor import attach_processor
from framegate.models.video_processor.attach import check_processor


def attach_front_end(
    model: Any, processor: Any, config: FrontEndConfig, *, weights: Path | None = None
) -> FrontEnd:
    """Attach a front end to a model and its processor; `framegate.attach` with a configuration already read.

    Args:
        model: a supported model, possibly wrapped by PEFT, torch.compile or data parallelism.
        processor: its processor, or None.
        config: the validated configuration.
        weights: file of what its stage that learns had learned; None starts it anew.

    Returns:
        The attached front end.

    Raises:
        UnsupportedModelError: the model's class is in no row of the family table, or it is no model.
        AttachmentError: a front end is attached already, the processor has no video processor or is another family's,
            or the tower's weights are nowhere.
        ConfigError: the family cannot do what the configuration asks.
    """
    if not isinstance(model, nn.Module):
        given = model if isinstance(model, str) else type(model).__name__
        raise UnsupportedModelError(
            f"A loaded model stands first, then its processor; {given!r} is none. framegate.from_pretrained(name) "
            "loads both by a folder or hub id, and attaches."
        )
    outer = unwrap(model)
    family = family_of(outer)
    if find_front_end(outer) is not None:
        raise AttachmentError(
            f"{type(outer).__name__} has a front end already; call its detach() before attaching another."
        )
    # what does not fit is refused before anything is put on
    mechanism = mechanism_of(outer.base_model, family)
    tower = mechanism.tower
    check_brought(outer, tower)
    if processor is not None:
        check_processor(processor, family.model_type, mechanism.layout)
    front_end = FrontEnd(outer, family, config)
    front_end._scaling = scaling_of(outer, processor, family)
    front_end.modules = build_modules(outer, tower, config, weights)
    if processor is not None:
        front_end._take(attach_processor(processor, family, front_end.config.plan))
    try:
        front_end._put_on()
    except BaseException:
        front_end.detach()
        raise
    return front_end


def find_front_end(model: Any) -> FrontEnd | None:
    """Find the front end of a model.

    Args:
        model: the model, or a wrapper that holds it.

    Returns:
        The front end, None when there is none.
    """
    return getattr(unwrap(model), OWNER, None)
