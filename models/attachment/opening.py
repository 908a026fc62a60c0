"""Which of three kinds a call of the model is, told when it is opened."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from framegate.models.attachment.call import Call, ContinuedCall
from framegate.models.attachment.keywords import holds_video
from framegate.models.attachment.serving import Attached
from framegate.models.attachment.stored_call import StoredCall, holds_stored
from framegate.models.attachment.video_call import VideoCall
from framegate.models.prompt import cache_of, carried_map
from framegate.models.transformers_private import MEDIA_KEY
from framegate.models.video_processor import ProcessorAttachment, attached_processor
from framegate.report import Report

LACKS_VIDEO = (
    "input_ids hold placeholders of a video, but the call brings none: they are read as words. Pass "
    "pixel_values_videos, as for generate; a trainer that leaves them out for its loss learns from another prompt."
)


def open_call(attached: Attached, named: dict[str, Any], report: Report, *, generating: bool = False) -> Call:
    """Open a call of the model, of its forward, of the forward under its head, or of `generate`.

    Args:
        attached: the model and what is attached to it.
        named: the caller's keyword arguments by name.
        report: of the call before, in which one on the same cache goes on.
        generating: the call is one of `generate`, whose ids may be those of a whole conversation.

    Returns:
        The call, of one of three kinds; where a session's tokens stand for a video, a `StoredCall`.

    Raises:
        PlanError: notes of an attached processor that were cut, do not fit, or come from a future version.
        AttachmentError: a cache that was cropped into its compressed prompt.
    """
    given = attached.mechanism.opened(named)
    cache = cache_of(given)
    carried = None if cache is None else carried_map(cache)
    if holds_stored(given):
        return StoredCall(attached, given, carried, generating=generating)
    if holds_video(given):
        return VideoCall(attached, given, carried, generating=generating)
    if carried is not None and carried.is_short:
        return ContinuedCall(attached, given, carried, report, generating=generating)
    call = Call(attached, given)
    call.lacks_video = _lacks_video(attached, given)
    if call.lacks_video is not None and call.lacks_video.device.type == "cpu" and call.lacks_video:
        warnings.warn(LACKS_VIDEO, stacklevel=2)
    return call


def _lacks_video(attached: Attached, given: dict[str, Any]) -> Tensor | None:
    """Tell of placeholders without a video, bool [] where the ids are; None where nobody asks.

    Stock reads them as words, and a compressed prompt never has them. Trainers that generate with a video and then
    forget it for the loss learn from another prompt.
    """
    ids = given.get("input_ids")
    # features that were encoded before, by whoever calls the class past the instance
    has_media = given.get("inputs_embeds") is not None or bool(given.get(MEDIA_KEY))
    # where a picture's placeholders are a video's
    config = attached.inner.config
    shared = getattr(config, "video_token_id", config.image_token_id) == config.image_token_id
    has_media |= shared and given.get("pixel_values") is not None
    is_no_prompt = ids is None or ids.shape[-1] < 2 or has_media
    if is_no_prompt or attached.config.is_identity or torch.compiler.is_compiling():
        return None
    return attached.mechanism.placeholders(given).any()


def processor_of(call: Call) -> ProcessorAttachment | None:
    """Find the attached processor that prepared a call's videos; None where none did, or it is of another process."""
    if not isinstance(call, VideoCall) or call.prepared is None:
        return None
    ids = (account.processor for account in call.prepared.accounts)
    return next(filter(None, map(attached_processor, ids)), None)
