"""A checkpoint told by its files, without weights: its family, how it takes videos, what a front end would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.config import FrontEndConfig
from framegate.doctor import Check, Diagnosis, installed_versions
from framegate.errors import ConfigError, FrameError, FramegateError, VideoError

if TYPE_CHECKING:
    from framegate.models.family import Family

# what a tube of the example is cut from
_EXAMPLE_PX = (720, 1280)
_EXAMPLE_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What the files of a checkpoint say.

    Args:
        folder: where they are.
        config: of config.json.
        video: of the files of its video processor; None for none.
        processor_class: that its processor's files name, "" for none.
        family: of its model.
        owner: the family whose processor it comes with.
        front_end: what `framegate.from_pretrained` would attach.
    """

    folder: Path
    config: Mapping[str, Any]
    video: Mapping[str, Any] | None
    processor_class: str
    family: Family
    owner: Family | None
    front_end: FrontEndConfig


def examine(folder: str | Path, video: str | None = None) -> Diagnosis:
    """Tell what framegate would do with a checkpoint.

    Args:
        folder: of a checkpoint; "framegate/nano" for the model that ships.
        video: path or address of a video to count tokens for.

    Returns:
        Findings, "broken" where a front end could not be attached, or would not follow the files.

    Raises:
        ConfigError: no such folder, or none with a config.json.
        UnsupportedModelError: its model type is not served; the message says why.
        VideoError: the video cannot be read.
    """
    found = read_checkpoint(folder)
    checks: dict[str, Callable[[Checkpoint], Check]] = {
        "model": _model,
        "code": _code,
        "weights": _weights,
        "processor": _processor,
        "settings": _settings,
        "size rule": _size_rule,
        "front end": _front_end,
    }
    if video is not None:
        checks["video"] = lambda checkpoint: _video(checkpoint, video)
    return Diagnosis(
        versions={name: installed_versions()[name] for name in ("framegate", "transformers")},
        checks=[_guarded(name, check, found) for name, check in checks.items()],
    )


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Read the files of a checkpoint; see `examine`."""
    from transformers.processing_utils import ProcessorMixin
    from transformers.video_processing_utils import VideoProcessorMixin

    from framegate.models.auto import resolve_config
    from framegate.models.families import family_of_config, processor_families
    from framegate.models.nano import shipped_folder
    from framegate.models.transformers_private import config_values

    path = Path(shipped_folder(folder))
    if not (path / "config.json").is_file():
        what = "holds no config.json" if path.is_dir() else "is no folder"
        raise ConfigError(
            f"--model {str(folder)!r} {what}; give the folder of a checkpoint, as save_pretrained writes."
        )
    try:
        config = config_values(path, {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path / 'config.json'} cannot be read: {error}") from error
    family = family_of_config(config)
    video = _if_there(VideoProcessorMixin.get_video_processor_dict, path)
    files = _if_there(ProcessorMixin.get_processor_dict, path) or {}
    named = str(files.get("processor_class") or (video or {}).get("processor_class") or "")
    kind = (video or {}).get("video_processor_type")
    owners = [
        one
        for one in processor_families(family.model_type)
        if (
            named == one.recipe.processor
            if kind is None
            else kind == one.recipe.video_values["video_processor_type"]
        )
    ]
    return Checkpoint(
        folder=path,
        config=config,
        video=video,
        processor_class=named,
        family=family,
        owner=owners[0] if owners else None,
        front_end=resolve_config(path, None, {})[0],
    )


def _if_there(read: Callable[..., tuple[dict[str, Any], Any]], path: Path) -> dict[str, Any] | None:
    try:
        return read(str(path), local_files_only=True)[0]
    except (OSError, ValueError):
        return None


def _guarded(name: str, check: Callable[[Checkpoint], Check], found: Checkpoint) -> Check:
    try:
        return check(found)
    except VideoError:
        raise
    except FramegateError as error:
        return Check(name=name, status="broken", found=str(error))


def _model(found: Checkpoint) -> Check:
    family, named = found.family, found.config.get("architectures") or []
    words = f"{family.model_type}: {family.model_class}, tower {family.tower}, {family.positions}"
    words += f"; saves in {' and '.join(family.saves)}"
    if missing := [package for package in family.needs if find_spec(package) is None]:
        remedy = f"pip install {' '.join(missing)}"
        return Check(
            name="model", status="broken", found=f"{words}; it needs {', '.join(missing)}", remedy=remedy
        )
    if named and family.model_class not in named:
        words += f". config.json names {', '.join(map(str, named))}"
        return Check(name="model", status="note", found=words, remedy=f"attach takes a {family.model_class}.")
    return Check(name="model", status="ok", found=words)


def _code(found: Checkpoint) -> Check:
    if not found.config.get("auto_map"):
        return Check(name="code", status="ok", found="that of transformers alone")
    return Check(
        name="code",
        status="note",
        found=f"the checkpoint brings code of its own (auto_map: {', '.join(found.config['auto_map'])})",
        remedy=f"Load it without trust_remote_code, as {found.family.model_class} of transformers.",
    )


def _weights(found: Checkpoint) -> Check:
    quantised = found.config.get("quantization_config")
    if not quantised:
        return Check(name="weights", status="ok", found="not quantised")
    method = (
        quantised.get("quant_method", "an unnamed method") if isinstance(quantised, Mapping) else quantised
    )
    words = f"quantised by {method}"
    remedy = "torchao, quanto and bitsandbytes are tested (tests/clients); of others, compare ratio 1 with stock first."
    return Check(name="weights", status="note", found=words, remedy=remedy)


def _processor(found: Checkpoint) -> Check:
    from framegate.models.families import processor_families

    expected = " or ".join(one.recipe.processor for one in processor_families(found.family.model_type))
    kind = (found.video or {}).get("video_processor_type")
    named = " with ".join(filter(None, (found.processor_class, kind)))
    if found.video is None and not named:
        remedy = f"A model without its processor takes pixels of a stock one: load a {expected}."
        return Check(name="processor", status="note", found="no files of a processor", remedy=remedy)
    if not named:
        words = f"its files name no class: taken for a {expected}"
        return Check(name="processor", status="note", found=words)
    if found.owner is None:
        remedy = f"{found.family.model_type} comes with a {expected}: put its files back."
        return Check(name="processor", status="broken", found=f"{named}, of another family", remedy=remedy)
    if found.processor_class not in ("", found.owner.recipe.processor):
        words = f"{named}, where {found.owner.model_type} comes with a {found.owner.recipe.processor}"
        remedy = "Frames go the same way; what it writes beside them may not be what the model reads."
        return Check(name="processor", status="note", found=words, remedy=remedy)
    return Check(name="processor", status="ok", found=named)


def _values(found: Checkpoint) -> tuple[str, dict[str, Any]]:
    """The settings of its video processor, completed by the defaults of the family that it is of."""
    from framegate.models.video_processor.settings import stock_values

    model_type = (found.owner or found.family).model_type
    return model_type, stock_values(
        model_type, None if found.owner is None and found.processor_class else found.video
    )


def _settings(found: Checkpoint) -> Check:
    from framegate.models.video_processor.settings import check_followed, stock_values

    model_type, values = _values(found)
    check_followed(model_type, {**(found.video or {}), **values}.get)
    usual = stock_values(model_type)
    other = [f"{name} {values[name]!r} ({usual[name]!r})" for name in values if values[name] != usual[name]]
    if not other:
        return Check(name="settings", status="ok", found="those of the class")
    words = f"not the class's, which are in brackets: {', '.join(other)}"
    return Check(name="settings", status="note", found=words)


def _size_rule(found: Checkpoint) -> Check:
    from framegate.models.video_processor.reading import tower_size_px
    from framegate.models.video_processor.settings import video_settings

    settings = video_settings(*_values(found))
    whose = "a whole video" if settings.counts_time else "a frame"
    bounds = f"{settings.min_pixels:,} to {settings.max_pixels:,} pixels of {whose}"
    try:
        size = tower_size_px(_EXAMPLE_FRAMES, *_EXAMPLE_PX, settings)
    except FrameError as error:  # other frames may do
        return Check(name="size rule", status="note", found=f"{bounds}. {error}")
    rows, columns = settings.cells_of(size)
    height_px, width_px = _EXAMPLE_PX
    example = (
        f"{_EXAMPLE_FRAMES} frames of {width_px} x {height_px} are seen at {size[1]} x {size[0]}, and a tube of "
        f"{settings.layout.temporal_patch_size} has {rows} x {columns} = {rows * columns:,} tokens"
    )
    return Check(name="size rule", status="ok", found=f"{bounds}; {example}")


def _front_end(found: Checkpoint) -> Check:
    from framegate.models.attachment.on_model import switched_on
    from framegate.models.attachment.serving import check_served

    config, family = found.front_end, found.family
    check_served(config, family)
    budgets = {name: getattr(config, name) for name in ("tower_ratio", "keep_ratio", "max_video_tokens")}
    shares = ", ".join(f"{name} {value:g}" for name, value in budgets.items() if value is not None)
    if not shares:
        shares = "no budget: the tower encodes what changed by more than a threshold, the prompt holds as many tokens"
    context = config.context if config.context in family.contexts else f"kept ({config.context} stands aside)"
    times = "written by the family" if family.writes_times else "none"
    if config.timestamps is not None and not family.writes_times:
        times = f"stamps in {config.timestamps.stamp_format}"
    words = (
        f"preset {config.preset}: {shares}; stages {', '.join(switched_on(config)) or 'none'}; context {context}; "
        f"times {times}"
    )
    return Check(name="front end", status="ok", found=words)


def _video(found: Checkpoint, video: str) -> Check:
    from framegate.models.video_processor import GatedVideoProcessor, plan_for_processor
    from framegate.tools.view.figures import plan_figures

    model_type, values = _values(found)
    plan = plan_for_processor(
        video, GatedVideoProcessor(model_type, values, found.front_end.plan), found.front_end.plan
    )
    figures = plan_figures(plan, found.front_end)
    words = (
        f"{figures.num_frames} frames, {figures.num_tubes} tubes of {figures.grid[0]} x {figures.grid[1]} cells: "
        f"{figures.dense_tokens:,} tokens dense; the tower encodes {figures.kept_tokens:,} "
        f"({figures.tower_ratio:.1%}), the prompt holds {figures.prompt_tokens:,} ({figures.keep_ratio:.1%})"
    )
    for note in plan.notes:
        words += f"; {note}"
    return Check(name="video", status="note" if plan.notes else "ok", found=words)
