"""Put the gated video processor on a processor, as an instance, and take it off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from framegate.errors import AttachmentError
from framegate.models.families import families, family_of_type, processor_families
from framegate.models.towers.patches import PatchLayout
from framegate.models.transformers_private import LAYOUT_METHOD, PLACEHOLDER_METHOD, VIDEOS_METHOD
from framegate.models.video_processor.hooks import (
    MethodHook,
    PlaceholderHook,
    StampsHook,
    check_stampable,
)
from framegate.models.video_processor.message import SAMPLING
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.settings import check_followed, layout_values
from framegate.models.video_processor.sources import (
    carried,
    flat_videos,
    with_carried_sources,
    with_carried_videos,
)
from framegate.tokenizers.caps import NO_CAPS
from framegate.tokenizers.clip.window import WHOLE
from framegate.tokenizers.plan_config import PlanConfig

NO_AUDIO = "load_audio_from_video: not followed, for this model takes no audio"


class ChatTemplateHook(MethodHook):
    """Before `apply_chat_template`: videos keep what their blocks ask on the way through."""

    def __call__(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the method with videos that carry what is asked of them."""
        notes: tuple[str, ...] = ()
        # `transformers serve` asks every processor for it
        if kwargs.get("load_audio_from_video") and not hasattr(self.processor, "feature_extractor"):
            kwargs, notes = kwargs | {"load_audio_from_video": False}, (NO_AUDIO,)
        reader = self.processor.video_processor
        # frames that the call asks for are chosen when the video is read, as they are without clips
        given = {**kwargs, **(kwargs.get("processor_kwargs") or {})}
        asks = any(given.get(name) is not None for name in SAMPLING)
        gated = isinstance(reader, GatedVideoProcessor)
        frames, caps = (reader.config.frames, reader.config.caps) if gated else (None, NO_CAPS)
        carried_over = with_carried_videos(conversation, notes, None if asks else frames, caps)
        return self.stock("apply_chat_template")(carried_over, *args, **kwargs)


def _given(media: Any) -> bool:
    """True for any picture or video; arrays have no truth value."""
    return media is not None and not (isinstance(media, list | tuple) and not media)


class InputsLayoutHook(MethodHook):
    """Before `prepare_inputs_layout`, which does not know paths, bytes, open files and grey frames."""

    def __call__(self, *, videos: Any = None, images: Any = None, **kwargs: Any) -> Any:
        """Call the method with those as strings.

        Raises:
            AttachmentError: pictures beside a gated video where the model cannot tell them apart; or the sound of a
                whole file for a window of it.
        """
        if kwargs.get("load_audio_from_video") and _given(videos):
            _refuse_windows(videos, kwargs.get("audio"))
        reader = self.processor.video_processor
        gates = isinstance(reader, GatedVideoProcessor) and reader.config.gate is not None
        if gates and _given(images) and _given(videos):
            family = family_of_type(reader.model_type)
            if not family.recipe.pictures_beside:
                raise AttachmentError(
                    f"{family.model_class} has one placeholder for pictures and for frames; rows of a gated video do "
                    "not go beside a picture: ask about them in two calls, or detach the front end."
                )
        return self.stock(LAYOUT_METHOD)(videos=with_carried_sources(videos), images=images, **kwargs)


def _refuse_windows(videos: Any, sounds: Any) -> None:
    flat = [carried(video) for video in flat_videos(videos)]
    if _given(sounds) and len(sounds) >= len(flat):
        return  # the caller's own
    for video in flat:
        if video.asked.window_seconds != WHOLE:
            raise AttachmentError(
                f"load_audio_from_video reads the sound of all of {video!s}, and the message asks for the window "
                f"{video.asked.window_seconds} of its frames: cut the file, or pass that sound as audio= with "
                "audio_from_video_indices."
            )


_HOOKS: dict[str, type[MethodHook]] = {
    "apply_chat_template": ChatTemplateHook,
    LAYOUT_METHOD: InputsLayoutHook,
    VIDEOS_METHOD: StampsHook,
    PLACEHOLDER_METHOD: PlaceholderHook,
}


# Attached processors of this process by the id in their notes. A model and a processor that were loaded apart know
# nothing of each other but the tensors between them; this is how the one finds the other. It keeps nothing alive.
_ATTACHED: WeakValueDictionary[str, Any] = WeakValueDictionary()


@dataclass(frozen=True)
class ProcessorAttachment:
    """What was put on a processor.

    Args:
        processor: the processor.
        video_processor: the video processor that stands in for the stock one.
    """

    processor: Any
    video_processor: GatedVideoProcessor

    def detach(self) -> None:
        """Give the processor its own video processor back, the very same object; once more does nothing."""
        if self.processor.video_processor is self.video_processor:
            self.processor.video_processor = self.video_processor.replaced
            _remove_hooks(self.processor)
            _ATTACHED.pop(self.video_processor.attachment_id, None)


def attach_processor(processor: Any, family: Any, config: PlanConfig) -> ProcessorAttachment:
    """Let a processor decode and gate videos as it streams, on this instance only.

    Args:
        processor: a stock processor of the family, or one from `load_processor` or `build_processor`.
        family: row of the family table, or its model_type.
        config: what decides on frames and cells.

    Returns:
        The attachment.

    Raises:
        AttachmentError: the processor has no tokenizer or video processor, belongs to another family,
            carries a front end already, or cannot carry the timestamps that the configuration asks for.
    """
    stock, model_type = check_processor(processor, getattr(family, "model_type", family))
    check_stampable(processor, model_type, config)
    gated = GatedVideoProcessor(model_type, stock.to_dict(), config, replaced=stock)
    gated.attachment_id = uuid4().hex
    _ATTACHED[gated.attachment_id] = processor
    processor.video_processor = gated
    install_hooks(processor)
    return ProcessorAttachment(processor, gated)


def attached_processor(attachment_id: str) -> ProcessorAttachment | None:
    """Find an attached processor of this process.

    Args:
        attachment_id: as in the notes of the inputs that it made.

    Returns:
        Its attachment; None where it is gone, detached, or lives in another process.
    """
    processor = _ATTACHED.get(attachment_id)
    reader = getattr(processor, "video_processor", None)
    if not isinstance(reader, GatedVideoProcessor) or reader.attachment_id != attachment_id:
        return None
    return ProcessorAttachment(processor, reader)


def install_hooks(processor: Any) -> None:
    """Set the hooks that carry videos, what is asked of them and stamps through a processor, on this instance."""
    for name, hook in _HOOKS.items():
        previous = vars(processor).get(name)
        if hasattr(type(processor), name) and not isinstance(previous, hook):
            setattr(processor, name, hook(processor, previous))


def _remove_hooks(processor: Any) -> None:
    if isinstance(processor.video_processor, GatedVideoProcessor):
        return
    for name, hook in _HOOKS.items():
        current = vars(processor).get(name)
        if isinstance(current, hook):
            delattr(processor, name)
            if current.previous is not None:
                setattr(processor, name, current.previous)


def check_processor(processor: Any, model_type: str, layout: PatchLayout | None = None) -> tuple[Any, str]:
    """Refuse a processor that does not go with a family.

    Args:
        processor: a processor.
        model_type: of the family.
        layout: patches and cells that the model's tower reads; None where no model is at hand, or where frames of one
            size are cut by the tower itself.

    Returns:
        Its video processor, and the model type of the family that it came with.

    Raises:
        AttachmentError: it has no tokenizer or video processor, belongs to another family, carries a front end, or is
            set to what is not followed.
    """
    found = getattr(processor, "video_processor", None)
    if found is None or getattr(processor, "tokenizer", None) is None:
        raise AttachmentError(
            f"{type(processor).__name__} has no {'video processor' if found is None else 'tokenizer'}; "
            f"supported are the processors of {', '.join(families())}."
        )
    if isinstance(found, GatedVideoProcessor) and found.replaced is not None:
        raise AttachmentError(
            f"This {type(processor).__name__} carries a front end already; detach it first."
        )
    expected = {
        family.recipe.video_values["video_processor_type"]: family.model_type
        for family in processor_families(model_type)
    }
    kinds = [cls.__name__ for cls in type(found).__mro__]
    # ours stands in for the one that it names
    kinds.insert(0, getattr(found, "video_processor_type", None) or kinds[0])
    came_with = [owner for kind, owner in expected.items() if kind in kinds]
    if not came_with:
        raise AttachmentError(
            f"{model_type} expects a {' or '.join(expected)}, and this "
            f"{type(processor).__name__} has a {kinds[0]}; supported are the processors of "
            f"{', '.join(families())}."
        )
    # asked before its settings are, which a stock processor may refuse to spell
    check_followed(model_type, lambda name: getattr(found, name, None))
    if layout is not None:
        _check_cut(processor, came_with[0], model_type, layout)
    return found, came_with[0]


def _check_cut(processor: Any, came_with: str, model_type: str, layout: PatchLayout) -> None:
    """Refuse a processor of a class that fits, and that cuts frames as the tower of another family reads them."""
    values = layout_values(came_with, processor.video_processor.to_dict())
    reads = {
        "patch_size": layout.patch_size_px,
        "temporal_patch_size": layout.temporal_patch_size,
        "merge_size": layout.merge_size,
    }
    wrong = [name for name, value in reads.items() if values[name] != value]
    if wrong:
        cuts = ", ".join(f"{name}={values[name]}" for name in wrong)
        wants = ", ".join(f"{name}={reads[name]}" for name in wrong)
        raise AttachmentError(
            f"This {type(processor).__name__} cuts frames by {cuts}, and the tower of this {model_type} reads {wants}: "
            "it came with another model; load the processor from this model's own folder."
        )


def processor_note(processor: Any, model_type: str) -> str:
    """Say that a processor fits, and is of another class than its family's all the same.

    Args:
        processor: a processor that `check_processor` let pass.
        model_type: of the family.

    Returns:
        A note for the report, "" where there is nothing to say.
    """
    expected = [family.recipe.processor for family in processor_families(model_type)]
    if any(cls.__name__ in expected for cls in type(processor).__mro__):
        return ""
    return (
        f"the processor is a {type(processor).__name__}, and {model_type} comes with a {' or '.join(expected)}: frames "
        "go the same way, what it writes beside them may not be what the model reads"
    )
