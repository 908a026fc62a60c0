"""One question to a model with its front end attached, with the times it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framegate.report import Report
    from framegate.tokenizers.gate.plan import GatePlan


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, with the report of the front end.

    Args:
        text: the answer.
        report: the front end's account.
        input_tokens: of the prompt as the caller sees it, every video cell counted.
        output_tokens: new ones.
        input_seconds: from the file to the model's inputs.
        first_token_seconds: from the call of `generate` to the first new token, read on the CPU.
        generate_seconds: the whole of `generate`.
    """

    text: str
    report: Report
    input_tokens: int
    output_tokens: int
    input_seconds: float
    first_token_seconds: float
    generate_seconds: float


class FirstToken:
    """A streamer that notes when the first new token came; `generate` hands it the prompt before."""

    def __init__(self) -> None:
        self.calls = 0
        self.time: float | None = None

    def put(self, value: Any) -> None:
        """Take the prompt, then tokens, which `generate` has brought to the CPU."""
        self.calls += 1
        if self.calls == 2:
            self.time = time.perf_counter()

    def end(self) -> None:
        """Take the end, which says nothing new."""


def ask(
    model: Any,
    processor: Any,
    *,
    video: str | None,
    question: str,
    window_seconds: tuple[float | None, float | None] = (None, None),
    max_new_tokens: int,
    scorer: Any = None,
    sampling: Mapping[str, Any] | None = None,
) -> Answer:
    """Ask one question about a part of one video, greedily, in a batch of one, of an attached pair.

    `scorer` scores the frames that the front end's sampler chooses from, by the question; `sampling` are settings of
    that sampler for this question alone.
    The time to the first token is that of a streamer in the one call that also gives the answer. Raises FramegateError
    for a video that cannot be read, a budget that cannot be met, and what else the pair refuses.
    """
    import framegate

    front_end = framegate.front_end_of(model)
    assert front_end is not None
    began = time.perf_counter()
    beside = {**(sampling or {}), **({} if scorer is None else {"scorer": scorer})}
    plan = front_end.config.frames.to_dict() | beside if beside else None
    inputs = question_inputs(processor, video, question, window_seconds=window_seconds, plan=plan)
    inputs = inputs.to(model.device)
    return generated(
        model, processor, inputs, report=lambda: front_end.report, began=began, max_new_tokens=max_new_tokens
    )


def generated(
    model: Any,
    processor: Any,
    inputs: Any,
    *,
    report: Callable[[], Report],
    began: float,
    max_new_tokens: int,
    given: Mapping[str, Any] | None = None,
) -> Answer:
    """Generate greedily, in a batch of one, with the times it took.

    `inputs` are those of the whole prompt; `given` is what the model gets where that is not all of them; `began` is
    when the inputs began to be made, by `time.perf_counter`; `report` is asked after the answer.
    """
    ready = time.perf_counter()
    first = FirstToken()
    output = model.generate(
        **(inputs if given is None else given),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        streamer=first,
    )
    done = time.perf_counter()
    new_tokens = output[:, inputs["input_ids"].shape[1] :]
    return Answer(
        text=processor.batch_decode(new_tokens, skip_special_tokens=True)[0].strip(),
        report=report(),
        input_tokens=inputs["input_ids"].shape[1],
        output_tokens=new_tokens.shape[1],
        input_seconds=ready - began,
        first_token_seconds=(first.time or done) - ready,
        generate_seconds=done - ready,
    )


def question_inputs(
    processor: Any,
    video: str | None,
    question: str,
    *,
    window_seconds: tuple[float | None, float | None] = (None, None),
    plan: Mapping[str, Any] | GatePlan | None = None,
) -> Any:
    """Make a model's inputs for a question about a video; `plan` is one or names a sampler, the rest as for `ask`."""
    window = zip(("video_start", "video_end"), window_seconds, strict=True)
    shown: dict[str, Any] = {"type": "video", "path": video} | {
        name: end for name, end in window if end is not None
    }
    shown |= {} if plan is None else {"plan": plan}
    content = [] if video is None else [shown]
    return processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": question}]}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
