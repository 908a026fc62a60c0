"""The public functions: the only place that knows the stream, the gate and the models together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.config import FrontEndConfig
from framegate.configs.loader import DEFAULT_PRESET, learned_weights, load_config
from framegate.errors import ConfigError
from framegate.notebook import Rows
from framegate.settings import read
from framegate.types import FramePlan

if TYPE_CHECKING:
    from framegate.models.attachment import FrontEnd
    from framegate.models.gated_tower import GatedTower
    from framegate.models.live import LiveSession
    from framegate.tokenizers.clip import VideoStream
    from framegate.tokenizers.gate.plan import GatePlan
    from framegate.tokenizers.gate.video import TowerView

ConfigLike = str | Path | Mapping[str, Any] | FrontEndConfig


def attach(
    model: Any, processor: Any = None, config: ConfigLike = DEFAULT_PRESET, **overrides: Any
) -> FrontEnd:
    """Put a front end on a loaded model, and on its processor, as instances; nothing else is touched.

    Args:
        model: a supported model of transformers, loaded, quantised or wrapped by PEFT.
        processor: its processor; None gates what a stock processor hands over.
        config: preset name, path of a YAML file or of a folder that a front end was saved in, dict or FrontEndConfig.
        overrides: settings replaced by keyword, for example keep_ratio=0.25.

    Returns:
        The front end: `.report` after each call, `.detach()`, also a context manager.

    Raises:
        UnsupportedModelError: the model's class is in no row of the family table.
        AttachmentError: a front end is attached already.
        ConfigError: the configuration is not valid, or the folder's weights are of another width than the model.
    """
    from framegate.models.attachment import attach_front_end

    weights = learned_weights(config)
    return attach_front_end(model, processor, load_config(config, **overrides), weights=weights)


def front_end_of(model: Any) -> FrontEnd | None:
    """Return the front end attached to a model.

    Args:
        model: the model, or a wrapper that holds it.

    Returns:
        The front end, None when there is none.
    """
    from framegate.models.attachment import find_front_end

    return find_front_end(model)


def from_pretrained(
    name_or_path: str | Path, front_end: ConfigLike | None = None, **model_options: Any
) -> tuple[Any, Any]:
    """Load a model and its processor and attach a front end.

    Args:
        name_or_path: folder or hub id of a supported checkpoint.
        front_end: configuration as for `attach`; None reads `front_end_config.json` of the folder, and takes the
            default preset when there is none.
        model_options: handed to the model's `from_pretrained`, for example dtype or device_map.

    Returns:
        Model and processor, attached; `framegate.front_end_of(model)` gives the front end.

    Raises:
        UnsupportedModelError: the checkpoint's class is in no row of the family table.
        ConfigError: the configuration is not valid, or the name is none.
    """
    from framegate.models.auto import load_attached

    return load_attached(name_or_path, front_end, model_options)


def supported_models(*, refused: bool = False) -> list[dict[str, Any]]:
    """List the family table, or who is refused and why.

    Args:
        refused: list the classes of transformers that read videos and are not served.

    Returns:
        A dict per supported family: class, mechanism, positions, timestamps, notes and more; of a refused class its
        name, the reason, and the supported family that comes closest. A notebook shows them as a table.
    """
    from framegate.models.families import table
    from framegate.models.unsupported import refused_table

    return Rows(refused_table() if refused else table())


def plan_frames(video: Any, sampler: str = "fps", **settings: Any) -> FramePlan:
    """Choose frames of a video.

    Args:
        video: path or address of a file, its bytes, frames in memory, or what is known of the video.
        sampler: name of a file of tokenizers/samplers, for example "fps", "keyframes" (KFFocus) or "apollo"; its README
            lists them.
        settings: the sampler's own, for example fps=2.0, num_frames=32, start_seconds=1.0, end_seconds=9.0. Some come
            with a call alone: for those that look at the pictures scorer=... (framegate.models.scorers), query="..."
            and show_progress=True; intervals=[(3, 8)] in seconds for "slow_fast"; between=[(100, 200)] in frame numbers
            for "spotlight"; current=plan and selected=[10, 11] for "local_resample".

    Returns:
        The chosen frames in order of time; `plan_video` and a message of an attached processor take them. There are as
        many as the settings say: the limit of 768 frames is that of configurations and messages.

    Raises:
        VideoError: the file cannot be read.
        ConfigError: unknown sampler or setting.
    """
    from framegate.tokenizers.plan_frames import planned_frames

    return planned_frames(video, sampler, settings)


def plan_video(
    video: Any,
    config: ConfigLike = DEFAULT_PRESET,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    width_px: int = 448,
    cell_px: int = 28,
    tube_frames: int = 1,
    family: str | None = None,
    processor: Any = None,
    frames: FramePlan | Mapping[str, Any] | None = None,
    plan: FramePlan | GatePlan | None = None,
    before: GatePlan | None = None,
    video_stream: int | None = None,
    show_progress: bool = False,
    **overrides: Any,
) -> GatePlan:
    """Decide which cells of a video would be encoded, without a model.

    Args:
        video: path or address of a file (file://, http://, data:), its bytes, an open file, or frames in memory as
            `open_video` takes them.
        config: preset name, path of a YAML file, dict or FrontEndConfig.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.
        width_px: width the frames are judged at; the height follows, both become multiples of cell_px.
        cell_px: side of a cell: 28 in Qwen2-VL and Qwen2.5-VL, 32 in Qwen3-VL.
        tube_frames: frames per tube: 1, or 2 as in Qwen-VL towers.
        family: model type of a supported family; size rule, cells and tubes of its video processor replace width_px,
            cell_px and tube_frames. The bounds of the rule are transformers' defaults, for Qwen3-VL those of its
            released checkpoints; `processor` has those of a checkpoint.
        processor: a processor of a supported family, attached or not: the plan is the very one that it would make with
            this configuration, and it takes the plan in a message.
        frames: frames to use (`plan_frames` makes them); a mapping is the configuration's section of that name.
        plan: frames to use, or a plan made before, to be brought together with its video.
        before: a plan of other frames of this video, for turns that add frames: tubes of it that come back, frames and
            size as they were, keep their cells; the others are planned by themselves. A front end that remembers
            (`front_end.remember`) then encodes these alone.
        video_stream: number of the video stream of a file that has several, as `open_video` takes it.
        show_progress: draw a progress bar on a terminal.
        overrides: settings replaced by keyword, for example keep_ratio=0.25, fps=8.

    Returns:
        The plan: what is kept, what stands for the rest, `source_frames()` and `reconstruct()`.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames of a wrong shape, smaller than one cell, not finite, or with times that go back, or frames
            planned for another video.
        PlanError: a plan for frames of another size, number or time.
        BudgetError: the budget is out of range or below one token.
        ConfigError: family beside processor, frames beside plan, before beside a plan of cells, or a setting of
            another kind.
        UnsupportedModelError: no such family; the message lists them.
    """
    from framegate.tokenizers.gate.plan import GatePlan
    from framegate.tokenizers.gate.video import TowerView
    from framegate.tokenizers.gate.video import plan_video as planned

    if frames is not None and not isinstance(frames, FramePlan):
        overrides["frames"], frames = frames, None
    if (family is not None and processor is not None) or (frames is not None and plan is not None):
        raise ConfigError(
            "family and processor both say how frames are cut, frames and plan which: give one of each."
        )
    wanted, given = load_config(config, **overrides).plan, frames if plan is None else plan
    if before is not None and (isinstance(given, GatePlan) or not isinstance(before, GatePlan)):
        raise ConfigError(
            f"before is a {type(before).__name__} beside plan, a {type(given).__name__}: before is the GatePlan of an "
            "earlier turn, and plan or frames say which frames are planned now."
        )
    source = {
        "window_seconds": (
            read(start_seconds, float | None, "start_seconds"),
            read(end_seconds, float | None, "end_seconds"),
        ),
        "given": given,
        "before": before,
        "video_stream": read(video_stream, int | None, "video_stream"),
    }
    if processor is not None:
        from framegate.models.video_processor import plan_for_processor

        return plan_for_processor(video, processor, wanted, show_progress=show_progress, **source)
    tower = TowerView.about(width_px, cell_px=cell_px, tube_frames=tube_frames)
    if family is not None:
        tower = _tower_of(family)
    return planned(video, wanted, tower=tower, show_progress=show_progress, **source)


def _tower_of(family: str) -> TowerView:
    from framegate.models.families import family_of_type
    from framegate.models.video_processor import stock_tower_view

    row = family_of_type(family)
    return stock_tower_view(row.model_type, dict(row.video_size))


def gate_stream(
    stream: VideoStream,
    config: ConfigLike = DEFAULT_PRESET,
    *,
    width_px: int = 448,
    cell_px: int = 28,
    tube_frames: int = 1,
    **overrides: Any,
) -> Iterator[GatePlan]:
    """Gate a video as it is read, a camera's or a file's: causal, capped, in bounded memory.

    Args:
        stream: from `framegate.open_video`; a live one is thinned out by its own `live_fps`.
        config: preset name, path of a YAML file, dict or FrontEndConfig.
        width_px: width the frames are judged and handed over at; the height follows, both multiples of cell_px.
        cell_px: side of a cell.
        tube_frames: frames per tube; a last tube that is not full repeats its last frame.
        overrides: settings replaced by keyword, for example threshold=6.0, max_video_tokens=4096.

    Returns:
        Iterator over the plans of single tubes: `.timestamps_seconds` [1], `.keep` bool [1, H, W], `.source_frames()`
        uint8 [k, h, w, 3]. `GatePlan.concatenate` joins a run, which a message of an attached processor takes as
        `plan` beside its frames.

    Raises:
        BudgetError: keep_ratio below 1, which a stream without a known end cannot meet.
        FrameError: the video is smaller than one cell, or is not open.
        ConfigError: the configuration is not valid.
    """
    from framegate.tokenizers.gate.stream import gate_stream as gated

    plan = load_config(config, **overrides).plan
    return gated(stream, plan, width_px=width_px, cell_px=cell_px, tube_frames=tube_frames)


def open_session(
    model: Any,
    processor: Any,
    source: Any,
    *,
    fps: float = 2.0,
    width_px: int | None = None,
    max_video_tokens: int = 4096,
    past_tokens_per_tube: int | None = None,
    horizon_seconds: float = 3600.0,
    refresh_seconds: float | None = 60.0,
    reconnect_seconds: float = 600.0,
    background: bool = True,
) -> LiveSession:
    """Follow a camera, an address or files, and answer questions about what was seen, in bounded memory for ever.

    Args:
        model: with a front end attached.
        processor: attached beside it.
        source: an address such as rtsp://, whose late frames give way to newer ones and which is opened again when it
            breaks off; paths of files in order of time, an iterator may wait for the next; or a stream from
            `open_video`, for a device or options of one's own.
        fps: most frames per second that are looked at; an open stream has its own `live_fps`.
        width_px: width at the gate and the tower; None for what the processor makes of the video, at most
            448.
        max_video_tokens: most tokens that are held, and that the language model reads; half of them show the newest
            tubes whole.
        past_tokens_per_tube: tokens of an older tube, its most telling ones; None for an eighth of a whole one, at
            least 8.
        horizon_seconds: how long ago a moment may be; older ones go.
        refresh_seconds: every cell is encoded again after so long, changed or not; None for never.
        reconnect_seconds: how long an address that is gone is asked again.
        background: follow the source on a thread; False reads on in `session.advance()` alone.

    Returns:
        The session: `.ask(question)`, `.inputs(question)` for a `generate` of one's own, `.seconds`, `.warnings`,
        `.close()`; use it in a `with` statement.

    Raises:
        UnsupportedModelError: a family that no session serves; the message lists those that are served.
        AttachmentError: model or processor have no front end.
        BudgetError: max_video_tokens does not hold two whole tubes.
        VideoError: the source cannot be opened.
        ConfigError: a setting of another kind, or a configuration that tells no times.
    """
    from framegate.models.attachment.live import open_live_session
    from framegate.models.live.settings import SessionSettings

    settings = SessionSettings(
        fps=fps,
        width_px=width_px,
        max_video_tokens=max_video_tokens,
        past_tokens_per_tube=past_tokens_per_tube,
        horizon_seconds=horizon_seconds,
        refresh_seconds=refresh_seconds,
        reconnect_seconds=reconnect_seconds,
        background=background,
    )
    return open_live_session(front_end_of(model), processor, source, settings)


def gate_tower(
    model: Any, config: ConfigLike = DEFAULT_PRESET, *, cell_patches: int = 1, **overrides: Any
) -> GatedTower:
    """Put a gate before a vision transformer of timm: of a video it computes the cells that changed.

    Args:
        model: made by `timm.create_model("vit_...")`, a VisionTransformer or an Eva; it stays as it is.
        config: preset name, path of a YAML file, dict or FrontEndConfig; what decides on the prompt does not hold here.
        cell_patches: patches along the side of a cell, the area that is kept or skipped as one.
        overrides: settings replaced by keyword, for example tower_ratio=0.25, fps=8.

    Returns:
        The tower, an `nn.Module`: `tower("clip.mp4").features` are [F, N, D], of all patches of all frames.

    Raises:
        UnsupportedModelError: a model whose patches cannot be left out; the message says why.
        ConfigError: the configuration is not valid or leaves cells without features, or cells that do not divide the
            model's grid.
    """
    from framegate.models.gated_tower import GatedTower

    loaded = load_config(config, **overrides)
    anchored = loaded.context == "anchored" and loaded.gates
    why = (
        "context 'anchored' stands aside, kept cells see one another alone: timm's blocks take no further keys",
    )
    return GatedTower(model, loaded.plan, cell_patches=cell_patches, notes=why if anchored else ())
