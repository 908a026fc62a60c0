"""What is done with every video of a data set: a row of it, in one stage or two, by no engine in particular."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from framegate.configs.loader import DEFAULT_PRESET, load_config
from framegate.errors import ConfigError
from framegate.provenance import commit
from framegate.tools.batch.items import Item
from framegate.types import FramePlan
from framegate.version import __version__

if TYPE_CHECKING:
    from framegate.report import Report
    from framegate.tokenizers.gate.plan import GatePlan

Output = Literal["plans", "patches", "tokens", "answers"]
Row = dict[str, Any]
# what must be the same for a folder of shards to be gone on with
RESUMES_ON = ("output", "config", "model", "family", "question", "max_new_tokens", "versions")
_FRAMES = ("indices", "timestamps_seconds", "scale", "group", "scores")
_FRAMES_TOLD = "frames_told"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to make of every video.

    Args:
        output: "plans", which cells would be encoded, without a model; "patches", a model's inputs with the kept
            patches alone; "tokens", its inputs behind tower and stages; "answers" of a model.
        preset: configuration, as for `framegate.attach`.
        overrides: settings replaced by name.
        model: checkpoint, folder or hub id, of all but plans; None for framegate/nano, which ships.
        family: for plans, whose size rule, cells and tubes hold; None for frames of 448 px and cells of 28.
        question: what is asked where an item has no question of its own.
        max_new_tokens: longest answer.

    Raises:
        ConfigError: an unknown output, or settings that are not valid.
    """

    output: Output = "plans"
    preset: str = DEFAULT_PRESET
    overrides: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    family: str | None = None
    question: str = "Describe the video."
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise ConfigError(f"output is {self.output!r}; it must be one of {', '.join(get_args(Output))}.")
        load_config(self.preset, **self.overrides)

    @property
    def has_two_stages(self) -> bool:
        """True where a model, on its device, goes on with what workers read."""
        return self.output in ("tokens", "answers")

    def header(self, command: str) -> Row:
        """Say where rows come from: settings, versions and the command."""
        from importlib.metadata import version

        config = json.dumps(load_config(self.preset, **self.overrides).to_dict(), sort_keys=True, default=str)
        versions = {"framegate": __version__} | {name: version(name) for name in ("torch", "transformers")}
        told = {"config": hashlib.sha256(config.encode()).hexdigest()[:16], "versions": versions}
        return asdict(self) | told | {"commit": commit(), "command": command}


class Prepare:
    """The first stage, on CPUs: decode, gate, cut. Loads what it needs once.

    Args:
        job: what to make.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._read: Callable[[Item], Row] = self._plan
        if job.output != "plans":
            from framegate.models.auto import AutoProcessor
            from framegate.models.nano import NANO

            config = load_config(job.preset, **job.overrides)
            self._processor = AutoProcessor.from_pretrained(job.model or NANO, front_end=config)
            self._read = self._inputs

    def __call__(self, item: Item) -> Row:
        """The row of one video; what stands against it is a row of status "error"."""
        row = {"id": item.id, "path": item.path, "question": self._question(item)}
        return row | guarded(lambda: self._read(item))

    def _question(self, item: Item) -> str | None:
        return None if self.job.output == "plans" else item.question or self.job.question

    def _plan(self, item: Item) -> Row:
        import framegate

        window = {"start_seconds": item.start_seconds, "end_seconds": item.end_seconds}
        plan = framegate.plan_video(
            item.path, self.job.preset, family=self.job.family, **window, **self.job.overrides
        )
        assert plan.frames is not None
        arrays = plan.pack()._asdict() | _frames_arrays(plan.frames)
        counts = {"tokens_dense": plan.num_cells, "cells_encoded": plan.num_kept}
        return {"notes": list(plan.notes), "arrays": arrays, **counts}

    def _inputs(self, item: Item) -> Row:
        from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, unpack_plans
        from framegate.tools.evaluation.ask import question_inputs

        inputs = question_inputs(
            self._processor,
            item.path,
            self._question(item) or "",
            window_seconds=(item.start_seconds, item.end_seconds),
        )
        arrays = {name: value.numpy() for name, value in inputs.items()}
        (plan,), _ = unpack_plans(arrays.get(PLAN_KEY), arrays[NOTES_KEY])
        counts = {"tokens_dense": plan.num_cells, "cells_encoded": plan.num_kept}
        return {"notes": list(plan.notes), "arrays": arrays, **counts}


class Finish:
    """The second stage, on the model's device: inputs in, tokens or answers out.

    Args:
        job: what to make.
    """

    def __init__(self, job: Job) -> None:
        import framegate
        from framegate.models.nano import NANO

        config = load_config(job.preset, **job.overrides)
        self.job = job
        self._model, self._processor = framegate.from_pretrained(
            job.model or NANO, config, device_map="auto" if _has_gpu() else None
        )

    def __call__(self, row: Row) -> Row:
        """The row with tokens or the answer in place of the inputs; rows of status "error" pass."""
        if row["status"] == "error":
            return row
        arrays = row.pop("arrays")
        finish = self._tokens if self.job.output == "tokens" else self._answer
        return row | guarded(lambda: finish(arrays))

    def _tokens(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Row:
        import torch

        import framegate
        from framegate.tools.batch.tokens import model_inputs, token_arrays

        front_end = framegate.front_end_of(self._model)
        assert front_end is not None
        with torch.no_grad():
            encoding = front_end.encode(**model_inputs({"inputs": arrays}, self._model.device))
        return {"arrays": token_arrays(encoding)} | self._counts(front_end.report)

    def _answer(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Row:
        import framegate
        from framegate.tools.batch.tokens import model_inputs

        inputs = model_inputs({"inputs": arrays}, self._model.device)
        ids = self._model.generate(
            **inputs, max_new_tokens=self.job.max_new_tokens, do_sample=False, num_beams=1
        )
        front_end = framegate.front_end_of(self._model)
        assert front_end is not None
        text = self._processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[
            0
        ]
        return {"answer": text.strip()} | self._counts(front_end.report)

    @staticmethod
    def _counts(report: Report) -> Row:
        return {
            "tokens_dense": report.dense_tokens,
            "tokens_kept": report.kept_tokens,
            "cells_encoded": report.encoded_cells,
            "notes": list(report.notes),
        }


def plan_of(arrays: Mapping[str, np.ndarray[Any, Any]]) -> GatePlan:
    """The plan that a row of "plans" holds, with its frames; a message of an attached processor takes it."""
    from dataclasses import replace

    from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, unpack_plans

    (plan,), _ = unpack_plans(arrays[PLAN_KEY], arrays[NOTES_KEY])
    told = json.loads(arrays[_FRAMES_TOLD].tobytes())
    parts: dict[str, Any] = {name: arrays.get(f"frames_{name}") for name in _FRAMES}
    return replace(plan, frames=FramePlan(notes=tuple(told["notes"]), time_code=told["time_code"], **parts))


def _frames_arrays(frames: FramePlan) -> dict[str, np.ndarray[Any, Any]]:
    """A plan of frames as arrays, what is text in one of bytes."""
    told = json.dumps({"notes": frames.notes, "time_code": frames.time_code}).encode()
    parts = {f"frames_{name}": getattr(frames, name) for name in _FRAMES}
    return {name: part for name, part in parts.items() if part is not None} | {
        _FRAMES_TOLD: np.frombuffer(told, np.uint8)
    }


def guarded(make: Callable[[], Row]) -> Row:
    """What is made, with status "ok", or what stands against it: whatever one video raises, others go on."""
    try:
        return {"status": "ok", "error": None} | make()
    except Exception as error:
        return {"status": "error", "error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
