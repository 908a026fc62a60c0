"""Open a live session on an attached model: what of its front end holds for a stream, and what stands aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, ConfigError, UnsupportedModelError
from framegate.models.attachment.front_end import FrontEnd
from framegate.models.families import families
from framegate.models.family import Family
from framegate.models.live.encoder import TubeEncoder, thin
from framegate.models.live.memory import RollingMemory, check_budget
from framegate.models.live.session import LiveSession
from framegate.models.live.settings import SessionSettings
from framegate.models.stages.registry import sections
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.video_processor import GatedVideoProcessor, attached_processor
from framegate.models.video_processor.reading import tower_size_px
from framegate.tokenizers.clip import VideoStream, open_video
from framegate.tokenizers.clip.address import SCHEME
from framegate.tokenizers.clip.opening import open_segments
from framegate.tokenizers.gate.config import MOTION_RULE, Budget
from framegate.tokenizers.gate.grid import grid_for
from framegate.tokenizers.gate.stream import gate_stream

# as `gate_stream` has it; smaller videos keep the width that their processor gives them
WIDEST_PX = 448
# tokens of a tube of the past: as one of so many cells, and at least
PAST_SHARE, LEAST_PAST = 8, 8


def open_live_session(
    front_end: FrontEnd | None,
    processor: Any,
    source: Any,
    settings: SessionSettings,
) -> LiveSession:
    """Open a session; result and errors as `framegate.open_session` of an attached model."""
    if front_end is None:
        raise AttachmentError(
            "A session needs a front end on the model: framegate.attach(model, processor) first, or "
            "framegate.from_pretrained(...), and then framegate.open_session(model, processor, source)."
        )
    check_family(front_end.family)
    reader = _reader_of(front_end, processor)
    config, family = front_end.config, front_end.family
    if not family.writes_times and reader.interleaver is None:
        raise ConfigError(
            f"preset {config.preset!r} writes no times, and the tubes that a session holds are not evenly spaced: "
            "attach with timestamps={'stamp_format': 'seconds'}, or preset 'framegate'."
        )
    stream = _opened(source, settings.fps, settings.reconnect_seconds)
    try:
        session = _session(front_end, processor, reader, stream, settings)
    except BaseException:
        stream.close()
        raise
    if settings.background:
        session.start()
    return session


def _session(
    front_end: FrontEnd,
    processor: Any,
    reader: GatedVideoProcessor,
    stream: VideoStream,
    settings: SessionSettings,
) -> LiveSession:
    """The session of a stream that is open, not started yet."""
    config, mechanism = front_end.config, front_end._attached.mechanism
    tube_frames = mechanism.layout.temporal_patch_size if mechanism.layout is not None else 1
    # a stream that was opened by the caller has a rate of its own; one without any gives every frame
    fps = stream.live_fps or settings.fps
    plan, notes = _for_streams(config, settings.refresh_seconds, fps / tube_frames)
    if stream.live_fps != settings.fps:
        given = "every frame" if stream.live_fps is None else f"live_fps {stream.live_fps:g}"
        notes = (*notes, f"fps {settings.fps:g} is not followed: the stream was opened with {given}")
    asked, info = reader.request(plan, {}).settings, stream.info
    _, own_px = tower_size_px(tube_frames, info.height_px, info.width_px, asked)
    geometry = {
        "width_px": settings.width_px or min(WIDEST_PX, own_px),
        "cell_px": mechanism.cell_px,
        "tube_frames": tube_frames,
    }
    cells = grid_for(info, **geometry).num_cells
    check_budget(settings.max_video_tokens, cells)
    return LiveSession(
        front_end.model,
        processor,
        stream,
        plans=gate_stream(stream, plan, **geometry, resample=asked.resample),
        encode=TubeEncoder(mechanism, backend=config.backend, news_above=_news_above(config)),
        memory=RollingMemory(
            max_tokens=settings.max_video_tokens,
            past_tokens_per_tube=settings.past_tokens_per_tube or max(LEAST_PAST, cells // PAST_SHARE),
            horizon_seconds=settings.horizon_seconds,
            thin=partial(thin, select=TokenSelect(config.select)),
        ),
        merge_size=mechanism.merge_size,
        tube_frames=tube_frames,
        notes=notes,
    )


def check_family(family: Family) -> None:
    """Refuse by name a family whose stored tokens no prompt is made of.

    Raises:
        UnsupportedModelError: the message lists those that are served.
    """
    if not family.serves_live:
        served = ", ".join(name for name, one in families().items() if one.serves_live)
        raise UnsupportedModelError(
            f"A live session does not serve {family.model_class}; it serves {served}. framegate.gate_stream gates its "
            "stream, and runs of it can be handed to the model."
        )


def _reader_of(front_end: FrontEnd, processor: Any) -> GatedVideoProcessor:
    """The attached video processor of a processor; one that was loaded apart from the model is taken over."""
    reader = getattr(processor, "video_processor", None)
    if not isinstance(reader, GatedVideoProcessor) or reader.replaced is None:
        raise AttachmentError(
            f"processor is a {type(processor).__name__} without a front end; attach both, framegate.attach(model, "
            "processor), and give that one."
        )
    apart = attached_processor(reader.attachment_id)
    if front_end.processor is None and apart is not None:
        front_end._take(apart)
    return reader


def _opened(source: Any, fps: float, reconnect_seconds: float) -> VideoStream:
    """The stream of a source: one that is open already, an address, or files."""
    if isinstance(source, VideoStream):
        return source
    if isinstance(source, str) and SCHEME.match(source) and not source.lower().startswith(("file:", "data:")):
        return open_video(source, live_fps=fps, drop_late=True, reconnect_seconds=reconnect_seconds)
    if isinstance(source, str | PathLike | bytes):
        return open_segments([source], live_fps=fps)
    if isinstance(source, Iterable):
        return open_segments(source, live_fps=fps)
    raise ConfigError(
        f"source is a {type(source).__name__}; give an address, paths of files in order of time, or an open stream: "
        "framegate.open_video(0, format='v4l2', live_fps=2)."
    )


def _for_streams(
    config: FrontEndConfig, refresh_seconds: float | None, tubes_per_second: float
) -> tuple[Any, tuple[str, ...]]:
    """What gates a stream, of a configuration that is for whole videos, and what stands aside."""
    notes, gate = [], config.gate
    shares = [name for name in ("keep_ratio", "tower_ratio", "max_video_tokens") if getattr(config, name)]
    if shares:
        notes.append(
            f"{', '.join(shares)} of the front end: a share needs the whole video; a session goes by the gate's "
            "threshold and its own max_video_tokens"
        )
    stages = [name for name in sections() if name != "select" and getattr(config, name) is not None]
    if stages:
        notes.append(f"{', '.join(stages)}: stand aside in a session")
    if config.context == "anchored":
        notes.append("context 'anchored' stands aside in a session: kept cells see one another alone")
    if gate is not None and (not gate.refill or gate.mode == "reuse"):
        notes.append("gate.refill: on in a session, whose skipped cells are shown by their anchors")
    if gate is not None and gate.motion == "camera":
        notes.append("gate.motion 'camera' stands aside in a session: anchors stay in place")
    if gate is not None:
        ages = [] if refresh_seconds is None else [max(1, round(refresh_seconds * tubes_per_second))]
        ages += [] if gate.max_age_tubes is None else [gate.max_age_tubes]
        gate = replace(gate, motion="none", max_age_tubes=min(ages, default=None))
    plan = replace(config.plan, gate=gate, budget=Budget(), prompt=Budget(), with_shares=None)
    return plan, tuple(notes)


def _news_above(config: FrontEndConfig) -> float:
    """By how much a cell has to change to be new; with a rule of its own whatever it encodes."""
    gate = config.gate
    return gate.resolved_threshold if gate is not None and gate.rule == MOTION_RULE else 0.0
