"""transformers' pipelines around an attached pair."""

import pytest
import transformers

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava_onevision"])
def test_a_pipeline_answers_what_generate_answers(task, family, clip):
    model, processor = tiny_pair(family)
    block = {"type": "video", "video": str(clip), "fps": 4}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "What moves?"}]}]
    with framegate.attach(model, processor, keep_ratio=0.5) as front_end:
        inputs = processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        want = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        pipeline = transformers.pipeline(task, model=model, processor=processor)
        (answer,) = pipeline(
            text=[messages], max_new_tokens=4, return_full_text=False, generate_kwargs={"do_sample": False}
        )
        answer = answer[0] if isinstance(answer, list) else answer
        assert answer["generated_text"] == want
        assert front_end.report.keep_ratio == pytest.approx(0.5, abs=0.02)
