"""Models that torchao, quanto or bitsandbytes quantised while transformers loaded them, on a CPU."""

import pytest
import torch
import transformers

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients


def torchao():
    quantization = pytest.importorskip("torchao.quantization")
    return transformers.TorchAoConfig(quantization.Int8WeightOnlyConfig())


def quanto():
    pytest.importorskip("optimum.quanto")
    return transformers.QuantoConfig(weights="int8")


def bitsandbytes_8_bit():
    pytest.importorskip("bitsandbytes")
    return transformers.BitsAndBytesConfig(load_in_8bit=True)


def bitsandbytes_4_bit():
    pytest.importorskip("bitsandbytes")
    return transformers.BitsAndBytesConfig(load_in_4bit=True)


@pytest.mark.parametrize("config_of", [torchao, quanto, bitsandbytes_8_bit, bitsandbytes_4_bit])
@torch.no_grad()
def test_a_quantised_model_compresses_and_is_the_same_when_it_is_detached(config_of, clip, tmp_path):
    config = config_of()
    model, processor = tiny_pair("qwen2_5_vl")
    model.save_pretrained(tmp_path)
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path, quantization_config=config)
    messages = [
        {"role": "user", "content": [{"type": "video", "path": str(clip)}, {"type": "text", "text": "?"}]}
    ]
    options = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    with framegate.attach(model, processor, "dense") as front_end:
        inputs = processor.apply_chat_template(messages, **options)
        whole = model(**inputs).logits
        assert front_end.report.keep_ratio == 1.0
    assert torch.equal(model(**inputs).logits, whole)
    with framegate.attach(model, processor, keep_ratio=0.5) as front_end:
        inputs = processor.apply_chat_template(messages, **options)
        ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        assert torch.equal(ids[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert front_end.report.keep_ratio == pytest.approx(0.5, abs=0.01)
