"""torch.save, pickle and deepcopy of an attached processor and of an attached model."""

import copy
import io
import pickle

import pytest
import torch

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {"torch.save": saved, "pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.deepcopy}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("preset", ["framegate", "kffocus"])
@torch.no_grad()
def test_a_copy_answers_as_the_original_and_reports_for_itself(way, preset, clip):
    settings = {"keyframe_source": "content", "num_frames": 8} if preset == "kffocus" else {"keep_ratio": 0.5}
    model, processor = tiny_pair("qwen2_5_vl")
    front_end = framegate.attach(model, processor, preset, **settings)
    messages = [
        {"role": "user", "content": [{"type": "video", "path": str(clip)}, {"type": "text", "text": "?"}]}
    ]
    options = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    inputs = processor.apply_chat_template(messages, **options)
    want = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    twin_processor, twin = WAYS[way](processor), WAYS[way](model)
    again = twin_processor.apply_chat_template(messages, **options)
    assert torch.equal(again["pixel_values_videos"], inputs["pixel_values_videos"])
    assert torch.equal(again["input_ids"], inputs["input_ids"])
    assert torch.equal(twin.generate(**again, max_new_tokens=3, do_sample=False), want)
    own = framegate.front_end_of(twin)
    assert own is not front_end
    assert own.report.kept_tokens == front_end.report.kept_tokens > 0
    front_end.detach()
    assert framegate.front_end_of(twin) is own
