"""One entrance: a call has one report whatever way it comes in, ends with its forward, and drops its family's keys."""

import copy
from types import SimpleNamespace

import pytest
import torch
from tiny import FAMILIES, moving_frames, one_video, stock_inputs, stock_model, stock_processor

import framegate
from framegate.models.attachment.call import ContinuedCall
from framegate.models.tiny import tiny_pair
from framegate.report import Report

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}


def told(report):
    """What a report says, without its times."""
    stages = [(stage.name, stage.tokens_in, stage.tokens_out, stage.note) for stage in report.stages]
    return report.num_videos, report.video_seconds, report.kept_tokens, stages, report.notes


@torch.no_grad()
@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava_onevision", "internvl"])
@pytest.mark.parametrize("settings", [{"keep_ratio": 1.0}, {"keep_ratio": 0.5}], ids=["identity", "short"])
def test_every_way_in_gives_the_same_report(family, settings):
    model, processor = tiny_pair(family)
    with framegate.attach(model, processor, "gate", **settings) as front_end:
        inputs = one_video(processor, moving_frames())
        model.base_model(**inputs)
        alone = told(front_end.report)
        assert alone[0] == 1
        assert alone[1] == 2.0
        model(**inputs)
        assert told(front_end.report) == alone
        model(**inputs, labels=inputs["input_ids"])
        assert told(front_end.report) == alone
        model.generate(**inputs, **NEW)
        (*rest, stages, notes), generated = told(front_end.report), front_end.report.stage("generate")
        assert (*rest, stages[:-1], notes) == alone
        assert generated.milliseconds > 0


@torch.no_grad()
@pytest.mark.parametrize("labels", [False, True], ids=["inner", "outer"])
def test_a_call_that_fails_leaves_nothing_behind(labels):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    ids = torch.tensor([[70, 71, 72]])
    want = model(input_ids=ids).logits
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:

        def fail(*_):
            raise MemoryError

        hook = model.model.language_model.register_forward_pre_hook(fail)
        with pytest.raises(MemoryError):
            model(**inputs, **({"labels": inputs["input_ids"]} if labels else {}))
        hook.remove()
        assert torch.equal(model(input_ids=ids).logits, want)
        assert "No video" in str(front_end.report)


@torch.no_grad()
def test_pictures_after_a_video_do_not_count_in_its_report():
    """The tower's clock stops with the call, where the stock path runs the tower."""
    from PIL import Image

    model, processor = stock_model("qwen2_vl"), stock_processor("qwen2_vl")
    video = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    picture = stock_inputs(processor, [[]], ["What?"], [[Image.fromarray(moving_frames(1, 56, 84)[0])]])
    with framegate.attach(model, None, "dense") as front_end:
        model(**video)
        report = front_end.report
        taken = report.stage("tower").milliseconds
        assert taken > 0
        model(**picture)
        assert report.stage("tower").milliseconds == taken


@torch.no_grad()
def test_another_video_inside_generate_is_a_call_of_its_own():
    model, processor = stock_model("qwen2_vl"), stock_processor("qwen2_vl")
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    other = stock_inputs(processor, [[moving_frames(4, 84)]], ["And here?"])
    with framegate.attach(model, None, "gate", keep_ratio=0.4):
        want, ids = model(**other).logits, model.generate(**inputs, **NEW)
        seen = []

        def beside(ids, scores):
            seen.append(model(**other).logits)
            return scores

        assert torch.equal(model.generate(**inputs, **NEW, logits_processor=[beside]), ids)
    assert len(seen) == 3
    assert all(torch.equal(logits, want) for logits in seen)


def test_a_continued_call_drops_what_its_own_family_reads():
    """A new family names its keys in its tower alone."""
    prompt = SimpleNamespace(
        length=4,
        continued_mask=lambda mask, later: torch.ones(1, 4 + later),
        continued_positions=lambda mask: torch.arange(mask.shape[1])[None],
    )
    cache = SimpleNamespace(get_seq_length=lambda: 5)
    attached = SimpleNamespace(mechanism=SimpleNamespace(consumed=("depth_maps", "pixel_values")))
    given = {
        "input_ids": torch.tensor([[7, 8]]),
        "past_key_values": cache,
        "depth_maps": torch.zeros(2),
        "pixel_values": None,
        "framegate_notes": torch.zeros(3),
        "use_cache": True,
    }
    short = ContinuedCall(attached, given, SimpleNamespace(prompt=prompt), Report(preset="gate")).forward()
    assert set(short) == {"input_ids", "past_key_values", "use_cache", "attention_mask", "position_ids"}
    assert short["position_ids"].tolist() == [[5, 6]]


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES[:1])
def test_the_tokenizer_of_a_copy_speaks_of_its_own_tower(family):
    model = stock_model(family)
    framegate.attach(model)
    twin = copy.deepcopy(model)
    for one in (model, twin):
        modules = framegate.front_end_of(one).modules
        assert modules["gated_residual_tokenizer"].tower is one.base_model.visual
