"""Accounts travel with their inputs: from workers, in any order, and between a model and a processor loaded apart."""

import pytest
import torch
from gated import random_keeps, with_keeps
from processor_cases import chat
from tiny import moving_frames, stock_inputs, stock_model, stock_processor
from torch.utils.data import DataLoader, Dataset

import framegate
from framegate.errors import PlanError
from framegate.models.tiny import tiny_pair


class Windows(Dataset):
    """Windows of one clip, prepared by an attached processor wherever the loader runs it."""

    def __init__(self, processor, clip):
        self.processor, self.clip = processor, str(clip)

    def __len__(self):
        return 4

    def __getitem__(self, number):
        block = {"type": "video", "path": self.clip, "video_end": number + 2.0}
        return dict(chat(self.processor, [block]))


@torch.no_grad()
def test_batches_of_workers_are_reported_rightly(clip):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        loader = DataLoader(Windows(processor, clip), batch_size=None, num_workers=2, prefetch_factor=2)
        for number, inputs in enumerate(loader):
            model(**inputs)
            report = front_end.report
            assert report.video_seconds == pytest.approx(number + 2.0, abs=0.2)
            assert report.stage("stream").milliseconds > 0
            assert not any("another configuration" in note for note in report.notes)


@torch.no_grad()
def test_a_batch_under_another_configuration_is_told(clip):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    with framegate.attach(stock_model("qwen2_5_vl"), processor, "gate", keep_ratio=0.5):
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
    with framegate.attach(model, None, "gate", keep_ratio=0.25) as front_end:
        model(**inputs)
        assert any("another configuration (preset gate)" in note for note in front_end.report.notes)


@torch.no_grad()
def test_the_two_shells_report_and_detach_together(clip, tmp_path):
    model, processor = tiny_pair("qwen2_5_vl")
    front_end = framegate.attach(model, processor, "gate", keep_ratio=0.5)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    front_end.detach()
    model = framegate.AutoModelForImageTextToText.from_pretrained(tmp_path)
    processor = framegate.AutoProcessor.from_pretrained(tmp_path)
    front_end = framegate.front_end_of(model)
    model(**chat(processor, [{"type": "video", "path": str(clip)}]))
    assert front_end.report.video_seconds == pytest.approx(10.0, abs=0.2)
    assert front_end.report.stage("patches").milliseconds > 0
    attached = processor.video_processor.replaced
    front_end.detach()
    assert processor.video_processor is attached
    assert getattr(processor.video_processor, "replaced", None) is None


@torch.no_grad()
def test_packed_tensors_that_were_cut_are_refused():
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    inputs = stock_inputs(processor, [[moving_frames(8)]], ["What?"])
    gated = with_keeps(inputs, random_keeps(inputs, 0.5))
    with framegate.attach(model, None, "gate"):
        for name in ("framegate_plan", "framegate_notes"):
            with pytest.raises(PlanError):
                model(**gated | {name: gated[name][:-3]})
