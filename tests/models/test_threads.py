"""Threads that share a model, or have one each: logits as alone, and every call's own report."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny import moving_frames, stock_inputs, stock_model, stock_processor

import framegate

FAMILY = "qwen2_5_vl"
PATIENCE_SECONDS = 60


def inputs_of(num_frames, height_px=112):
    frames = moving_frames(num_frames, height_px)
    return stock_inputs(stock_processor(FAMILY), [[frames]], ["What moves?"])


@torch.no_grad()
def call(model, front_end, inputs):
    """Last logits, and what the report says of this call's tokens."""
    logits = model(**inputs).logits[0, -1]
    report = front_end.report
    stages = [(stage.name, stage.tokens_in, stage.tokens_out, stage.patches_in) for stage in report.stages]
    timed = all(stage.milliseconds is not None for stage in report.stages if stage.name == "tower")
    return logits, (report.kept_tokens, report.dense_tokens, stages, timed)


def same(found, wanted):
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=2e-5)
    assert found[1] == wanted[1]


class OneInsideTheOther:
    """Holds the second call in the tower until the first, which waited for it there, has read its report."""

    def __init__(self, tower):
        self.both_inside = threading.Barrier(2)
        self.first_is_done = threading.Event()
        self.hook = tower.blocks[0].norm1.register_forward_pre_hook(self.hold)

    def hold(self, module, args):
        self.both_inside.wait(PATIENCE_SECONDS)
        if threading.current_thread().name.endswith("_1"):
            assert self.first_is_done.wait(PATIENCE_SECONDS)

    def first(self, work, *arguments):
        try:
            return work(*arguments)
        finally:
            self.first_is_done.set()


@pytest.mark.parametrize("preset", ["gate", "dense"])
def test_two_calls_on_one_model_have_a_report_each(preset):
    model, (short, long) = stock_model(FAMILY), (inputs_of(4), inputs_of(8, 84))
    settings = {} if preset == "dense" else {"keep_ratio": 0.25}
    with framegate.attach(model, None, preset, **settings) as front_end:
        alone = [call(model, front_end, inputs) for inputs in (short, long)]
        order = OneInsideTheOther(model.model.visual)
        with ThreadPoolExecutor(2, thread_name_prefix="call") as pool:
            first = pool.submit(order.first, call, model, front_end, short)
            second = pool.submit(call, model, front_end, long)
            together = first.result(), second.result()
    for found, wanted in zip(together, alone, strict=True):
        same(found, wanted)


def test_two_models_have_nothing_in_common():
    models, inputs = [stock_model(FAMILY, seed=seed) for seed in (0, 1)], (inputs_of(4), inputs_of(8, 84))
    front_ends = [
        framegate.attach(model, None, "gate", keep_ratio=ratio)
        for model, ratio in zip(models, (0.5, 0.25), strict=True)
    ]
    work = list(zip(models, front_ends, inputs, strict=True)) * 3
    alone = [call(*one) for one in work[:2]]
    start = threading.Barrier(2)

    def repeat(number):
        start.wait(PATIENCE_SECONDS)
        return [call(*work[number]) for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(pool.map(repeat, range(2))):
            for one in found:
                same(one, alone[number])
