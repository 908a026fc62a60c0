"""One question, answered by the dense model, then behind a front end, then drawn; step by step, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.tokenizers.caps import SERVED_CAPS
from framegate.tools.evaluation.ask import Answer, ask, generated, question_inputs
from framegate.tools.view import ViewFiles, write_view

if TYPE_CHECKING:
    from framegate.config import FrontEndConfig
    from framegate.tokenizers.gate.plan import GatePlan

# a visitor hands over a file, and the page itself makes its path
CAPS: Mapping[str, Any] = {**SERVED_CAPS, "public_only": False}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whom the page asks, and how.

    Args:
        model: loaded, without a front end.
        processor: its processor.
        name: of the model, for the page.
        preset: preset or YAML file of the front end.
        overrides: settings that replace the preset's, but for those that the page sets.
        max_new_tokens: longest answer.
    """

    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    name: str
    preset: str
    overrides: Mapping[str, Any]
    max_new_tokens: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What is known so far; the dense answer comes first, the pictures last."""

    dense: Answer
    compressed: Answer | None = None
    view: ViewFiles | None = None


def capped_config(preset: str, settings: Mapping[str, Any]) -> FrontEndConfig:
    """Read the front end's configuration, with caps on videos; ConfigError for a setting that is none."""
    from framegate import load_config

    return load_config(preset, **settings, caps=CAPS)


def compare(
    asked: Asked, video: str, question: str, *, settings: Mapping[str, Any], folder: Path
) -> Iterator[Compared]:
    """Ask the dense model, then behind the front end, then draw the plan that the second answer rests on.

    Args:
        asked: model and preset.
        video: path of a file.
        question: about it.
        settings: what the page sets: tower_ratio, keep_ratio, fps. The dense model reads the same frames.
        folder: where pictures go.

    Returns:
        Iterator over what is known, three times.

    Raises:
        VideoError: the file cannot be read.
        CapError: it is beyond `CAPS`.
        ConfigError: a budget or another setting that cannot be met.
    """
    config = capped_config(asked.preset, {**asked.overrides, **settings})
    known = Compared(dense=_dense_answer(asked, video, question, config))
    yield known
    answer, plan = _compressed_answer(asked, video, question, config)
    known = replace(known, compressed=answer)
    yield known
    yield replace(
        known, view=write_view(plan, folder, title=Path(video).name, config=config, side_by_side=False)
    )


def warm_up(asked: Asked) -> None:
    """Ask once, so that what the first call of a process pays is in no answer's time."""
    clip = str(resources.files("framegate") / "assets" / "codes.mp4")
    config = capped_config("dense", {})
    _dense_answer(replace(asked, max_new_tokens=1), clip, "?", config)


def _dense_answer(asked: Asked, video: str, question: str, config: FrontEndConfig) -> Answer:
    import framegate

    # with the settings that choose frames: it has to see the same ones
    frames = config.frames.to_dict()
    with framegate.attach(asked.model, asked.processor, "dense", **frames, caps=CAPS):
        return ask(
            asked.model,
            asked.processor,
            video=video,
            question=question,
            max_new_tokens=asked.max_new_tokens,
        )


def _compressed_answer(
    asked: Asked, video: str, question: str, config: FrontEndConfig
) -> tuple[Answer, GatePlan]:
    """The answer, and the plan that it was given with; planning counts as making the inputs."""
    import framegate

    began = time.perf_counter()
    plan = framegate.plan_video(video, config, processor=asked.processor)
    with framegate.attach(asked.model, asked.processor, config) as front_end:
        inputs = question_inputs(asked.processor, video, question, plan=plan)
        answer = generated(
            asked.model,
            asked.processor,
            inputs.to(asked.model.device),
            report=lambda: front_end.report,
            began=began,
            max_new_tokens=asked.max_new_tokens,
        )
    return answer, plan
