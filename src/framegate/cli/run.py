"""`framegate run`: a question about a video, answered with the front end attached, and the report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framegate.cli.console import make_console
from framegate.errors import ConfigError, FramegateError

if TYPE_CHECKING:
    from framegate.report import Report

TINY_MODEL_WARNING = (
    "No --model was given: this is a tiny {family} model with random weights. Its words mean nothing; "
    "the counts of tokens and patches and the times are real."
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What to ask of which model, and how."""

    video: str
    window_seconds: tuple[float | None, float | None]
    question: str
    model: str | None
    family: str
    preset: str
    overrides: dict[str, Any]
    max_new_tokens: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, with the report of the front end.

    Args:
        text: the answer.
        report: the front end's account.
        input_milliseconds: from the file to the model's inputs.
        generate_milliseconds: the whole of `generate`.
    """

    text: str
    report: Report
    input_milliseconds: float
    generate_milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """Spell the answer as plain values."""
        return {
            "answer": self.text,
            "input_milliseconds": self.input_milliseconds,
            "generate_milliseconds": self.generate_milliseconds,
            "report": json.loads(self.report.to_json()),
        }


def run_command(options: RunOptions, *, compare: bool, as_json: bool) -> None:
    """Answer and print."""
    from framegate import load_config

    # a mistyped setting is told before a model is loaded
    load_config(options.preset, **options.overrides)
    model, processor = _load(options)
    model = _on_gpu(model)
    presets = [("dense", _frame_settings(options)), (options.preset, options.overrides)]
    # with --preset dense there is nothing to compare
    answers = {
        preset: ask(model, processor, options, preset=preset, overrides=overrides)
        for preset, overrides in presets[0 if compare and options.preset != "dense" else 1 :]
    }
    warning = None if options.model else TINY_MODEL_WARNING.format(family=options.family)
    if as_json:
        runs = {preset: answer.to_dict() for preset, answer in answers.items()}
        print(json.dumps({"video": options.video, "warning": warning, "runs": runs}, indent=2))
        return
    _print(answers, warning)


def ask(model: Any, processor: Any, options: RunOptions, *, preset: str, overrides: dict[str, Any]) -> Answer:
    """Attach, ask, detach.

    Args:
        model: a supported model without a front end.
        processor: its processor.
        options: video, question and length of the answer.
        preset: preset name or YAML file.
        overrides: settings that replace the preset's.

    Returns:
        The answer with its report.

    Raises:
        FramegateError: as `framegate.attach` and the attached model's `generate`.
    """
    import framegate

    window = zip(("video_start", "video_end"), options.window_seconds, strict=True)
    video = {"type": "video", "path": options.video} | {
        name: seconds for name, seconds in window if seconds is not None
    }
    content = [video, {"type": "text", "text": options.question}]
    with framegate.attach(model, processor, preset, **overrides) as front_end:
        began = time.perf_counter()
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        ready = time.perf_counter()
        output = model.generate(**inputs, max_new_tokens=options.max_new_tokens, do_sample=False)
        done = time.perf_counter()
        new_tokens = output[:, inputs["input_ids"].shape[1] :]
        return Answer(
            text=processor.batch_decode(new_tokens, skip_special_tokens=True)[0].strip(),
            report=front_end.report,
            input_milliseconds=1000 * (ready - began),
            generate_milliseconds=1000 * (done - ready),
        )


def _load(options: RunOptions) -> tuple[Any, Any]:
    from transformers.utils import logging

    # hints about generation settings, which the user of this command cannot change
    logging.set_verbosity_error()
    if options.model is None:
        from framegate.models.tiny import tiny_pair

        return tiny_pair(options.family)
    import framegate

    try:
        model, processor = framegate.from_pretrained(options.model, "dense")
    except FramegateError:
        raise
    except (OSError, ValueError) as error:
        # what transformers raises for a folder without a checkpoint, or a hub that cannot be reached
        raise ConfigError(f"--model {options.model!r} cannot be loaded: {error}") from error
    front_end = framegate.front_end_of(model)
    assert front_end is not None
    front_end.detach()
    return model, processor


def _on_gpu(model: Any) -> Any:
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model


def _frame_settings(options: RunOptions) -> dict[str, Any]:
    """The settings that choose frames: the dense run has to see the same ones."""
    import dataclasses

    from framegate import load_config

    return dataclasses.asdict(load_config(options.preset, **options.overrides).frames)


def _print(answers: dict[str, Answer], warning: str | None) -> None:
    console = make_console()
    if warning:
        console.print(f"[yellow]{warning}[/yellow]\n")
    for preset, answer in answers.items():
        console.print(f"[bold]{preset}[/bold] answers:", highlight=False)
        console.print(printable(answer.text), markup=False, highlight=False)
        console.print()
        console.print(answer.report)
        console.print(
            f"inputs {answer.input_milliseconds:,.0f} ms, generate {answer.generate_milliseconds:,.0f} ms\n",
            highlight=False,
        )


def printable(text: str) -> str:
    """Show control characters as escapes: what a random model says must not drive the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text
    )
