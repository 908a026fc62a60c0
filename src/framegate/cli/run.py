"""`framegate run`: a question about a video, answered with the front end attached, and the report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.cli.options import make_console
from framegate.errors import ConfigError, FramegateError

if TYPE_CHECKING:
    from framegate.tools.evaluation.ask import Answer

TINY_MODEL_WARNING = (
    "This is a tiny {family} model with random weights. Its words mean nothing; the counts of tokens and patches and "
    "the times are real."
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What to ask of which model, and how."""

    video: str
    window_seconds: tuple[float | None, float | None]
    question: str
    model: str | None
    family: str | None
    preset: str
    overrides: dict[str, Any]
    max_new_tokens: int
    scorer: str | None = None


def run_command(options: RunOptions, *, compare: bool | None, as_json: bool) -> None:
    """Answer and print; compare None asks the dense model too where the model is framegate/nano."""
    from framegate import load_config
    from framegate.models.nano import NANO
    from framegate.models.nano.asked import advice_on
    from framegate.models.scorers import check_name

    # a mistyped setting or path is told before a model is loaded
    load_config(options.preset, **options.overrides)
    check_name(options.scorer)
    check_video(options.video)
    model, processor = load_pair(options.model, options.family)
    is_nano = options.model in (None, NANO) and options.family is None
    compare = is_nano if compare is None else compare
    presets = [("dense", _frame_settings(options)), (options.preset, options.overrides)]
    # with --preset dense there is nothing to compare
    answers = {
        preset: attached_answer(model, processor, options, preset=preset, overrides=overrides)
        for preset, overrides in presets[0 if compare and options.preset != "dense" else 1 :]
    }
    warning = advice_on(options.question) if is_nano else None
    if options.family is not None:
        warning = TINY_MODEL_WARNING.format(family=options.family)
    if as_json:
        runs = {preset: _spelled(answer) for preset, answer in answers.items()}
        print(json.dumps({"video": options.video, "warning": warning, "runs": runs}, indent=2))
        return
    _print(answers, warning)


def attached_answer(
    model: Any, processor: Any, options: RunOptions, *, preset: str, overrides: dict[str, Any]
) -> Answer:
    """Attach, ask, detach."""
    import framegate
    from framegate.tools.evaluation.ask import ask

    scorer = None
    # the dense model is asked on the frames that the same sampler chooses without one
    if options.scorer is not None and preset != "dense":
        from framegate.models.scorers import scorer_named

        scorer = scorer_named(options.scorer, model, processor)
    with framegate.attach(model, processor, preset, **overrides):
        return ask(
            model,
            processor,
            video=options.video,
            question=options.question,
            window_seconds=options.window_seconds,
            max_new_tokens=options.max_new_tokens,
            scorer=scorer,
        )


def check_video(video: str) -> None:
    """Check that there is a file before a model is loaded; what stands at an address is seen when it is opened.

    Args:
        video: path or address.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: a directory, an empty file, or no file at all.
    """
    from framegate.tokenizers.clip.address import SCHEME, located
    from framegate.tokenizers.clip.container import check_file

    found = located(video)
    if isinstance(found, str) and not SCHEME.match(found):
        check_file(Path(found))


def load_pair(name: str | None, family: str | None = None) -> tuple[Any, Any]:
    """Load a model and its processor, without a front end, on the GPU where there is one.

    A checkpoint's folder or hub id, framegate/nano where there is none; `family` builds a tiny random model instead.

    Raises:
        UnsupportedModelError: the checkpoint's class is in no row of the family table.
        ConfigError: it cannot be loaded, its files do not fit together, or name and family are both given.
    """
    from transformers.utils import logging

    from framegate.models.nano import NANO

    # hints about generation settings, which the user of this command cannot change
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    if name is not None and family is not None:
        raise ConfigError(f"--model {name!r} and --family {family!r} are two models; give one of them.")
    if family is not None:
        from framegate.models.tiny import tiny_pair

        model, processor = tiny_pair(family)
        return _on_gpu(model), processor
    try:
        model, processor = _checkpoint(name or NANO)
    except FramegateError:
        raise
    except (OSError, ValueError) as error:
        # what transformers raises for a folder without a checkpoint, or a hub that cannot be reached
        raise ConfigError(f"--model {name or NANO!r} cannot be loaded: {error}") from error
    return _on_gpu(model), processor


def _checkpoint(name: str) -> tuple[Any, Any]:
    """The stock model and processor of a checkpoint, every weight of which has to be there and to fit.

    An adapter's folder gives its base with the adapter on; the front end beside it gives way to the command's options.
    """
    from transformers import AutoModelForImageTextToText

    from framegate.models.families import family_of_config
    from framegate.models.nano import shipped_folder
    from framegate.models.transformers_private import config_values
    from framegate.models.video_processor import load_processor

    folder = shipped_folder(name)
    if (Path(folder) / "adapter_config.json").is_file():
        return _adapted(folder)
    family = family_of_config(config_values(folder, {}))
    processor = load_processor(folder, family.model_type)
    # mismatches are let through to be told by name; transformers would tell them in a log that is off
    model, told = AutoModelForImageTextToText.from_pretrained(
        folder, output_loading_info=True, ignore_mismatched_sizes=True
    )
    wrong = sorted(told["missing_keys"]) + sorted(key for key, *_ in told["mismatched_keys"])
    if wrong:
        raise ConfigError(
            f"--model {name!r} cannot be loaded: {len(wrong)} weights are missing or of another shape than its "
            f"config.json says, {wrong[0]} first. They would be random."
        )
    if extra := sorted(told["unexpected_keys"]):
        print(
            f"warning: {len(extra)} weights of {name} have no place in the model that its config.json describes, "
            f"{extra[0]} first; they are not used",
            file=sys.stderr,
        )
    return model, processor


def _adapted(folder: Any) -> tuple[Any, Any]:
    """A base with a fine-tuned adapter on it."""
    import framegate

    model, processor = framegate.load_finetuned(folder)
    front_end = framegate.front_end_of(model)
    assert front_end is not None
    if front_end.module is not None:
        print(f"warning: what the front end in {folder} has learned is not used", file=sys.stderr)
    front_end.detach()
    return model, processor


def _spelled(answer: Answer) -> dict[str, Any]:
    """An answer as plain values, times in milliseconds."""
    return {
        "answer": answer.text,
        "input_milliseconds": 1000 * answer.input_seconds,
        "first_token_milliseconds": 1000 * answer.first_token_seconds,
        "generate_milliseconds": 1000 * answer.generate_seconds,
        "report": json.loads(answer.report.to_json()),
    }


def _on_gpu(model: Any) -> Any:
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model


def _frame_settings(options: RunOptions) -> dict[str, Any]:
    """The settings that choose frames: the dense run has to see the same ones."""
    from framegate import load_config

    return load_config(options.preset, **options.overrides).frames.to_dict()


def _print(answers: dict[str, Answer], warning: str | None) -> None:
    console = make_console()
    if warning:
        console.print(f"{warning}\n", style="yellow")
    for preset, answer in answers.items():
        console.print(f"{preset} answers:", style="bold", highlight=False)
        console.print(printable(answer.text), highlight=False)
        console.print()
        console.print(answer.report)
        console.print(
            f"inputs {1000 * answer.input_seconds:,.0f} ms, generate {1000 * answer.generate_seconds:,.0f} ms\n",
            highlight=False,
        )


def printable(text: str) -> str:
    """Show control characters as escapes: what a random model says must not drive the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text
    )
