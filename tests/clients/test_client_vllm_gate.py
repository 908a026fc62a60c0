"""The gate inside of vLLM's own code: its processor, and, with a build of vLLM for CPUs, its engine."""

from functools import partial
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import framegate
from framegate.errors import ConfigError
from framegate.tools import vllm as plug_in
from framegate.tools.vllm.frames import read_video, served_caps
from framegate.tools.vllm.settings import selects, served_config

pytestmark = pytest.mark.clients
pytest.importorskip("vllm.model_executor.models.qwen3_vl", reason="vllm is not installed")

ASSETS = resources.files("framegate") / "assets"
NANO, ARCHITECTURE = str(ASSETS / "nano"), "FramegateQwen3VLForConditionalGeneration"
QUESTION = "What text stands at 4.9 seconds?"
# settings, and vLLM's flag
SERVED = {
    "all shown": ({"tower_ratio": 0.25}, None),
    "drop": ({"preset": "gate", "keep_ratio": 0.3}, None),
    "select": ({"keep_ratio": 0.25, "tower_ratio": 0.5}, 0.75),
}


@pytest.fixture(scope="module", autouse=True)
def plugged_in():
    """The plug-in; a CPU is no reason to select nothing here, for these tests do what vLLM's runner leaves out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        plug_in.register()
        from framegate.tools.vllm import qwen3_vl, qwen3_vl_processor

        for module in (qwen3_vl, qwen3_vl_processor):
            stock = module.check_server
            patch.setattr(
                module,
                "check_server",
                lambda config, stock=stock, **told: stock(config, **told | {"on_cpu": False}),
            )
        yield


@pytest.fixture(scope="module")
def video():
    """Frames and metadata as the loader gives them."""
    data = (ASSETS / "codes.mp4").read_bytes()
    return read_video(data, {"fps": 4.0, "max_frames": 24}, served_caps(None))


@pytest.fixture(scope="module", params=SERVED, ids=lambda name: name.replace(" ", "-"))
def served(request):
    """Settings, vLLM's flag, and its model configuration with both."""
    from vllm.config import ModelConfig

    settings, rate = SERVED[request.param]
    config = ModelConfig(
        model=NANO,
        dtype="float32",
        max_model_len=4096,
        hf_overrides={"architectures": [ARCHITECTURE], "framegate": settings},
        video_pruning_rate=rate,
    )
    return settings, rate, config


@pytest.fixture(scope="module")
def processor(served):
    from vllm.multimodal import MULTIMODAL_REGISTRY

    return MULTIMODAL_REGISTRY.create_processor(served[2])


@pytest.fixture(scope="module")
def expected(served, video):
    """The same in transformers: model, prompt, inputs, and what the language model reads."""
    model, own = framegate.from_pretrained(NANO, front_end=served_config(served[0]))
    frames, metadata = video
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = own.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    told = {name: value for name, value in metadata.items() if name != "do_sample_frames"}
    inputs = own(
        text=[text], videos=[frames], video_metadata=[told], do_sample_frames=False, return_tensors="pt"
    )
    return SimpleNamespace(
        model=model, text=text, inputs=inputs, read=framegate.front_end_of(model).encode(**inputs)
    )


@pytest.fixture(scope="module")
def processed(processor, video, expected):
    """What vLLM schedules."""
    return processor(expected.text, processor.info.parse_mm_data({"video": [video]}))


def fields(processed):
    """The fields of its video."""
    return {name: field.data for name, field in processed["mm_kwargs"]["video"][0].items()}


def test_what_is_scheduled_is_what_transformers_reads(processed, expected):
    found = fields(processed)
    assert torch.equal(found["pixel_values_videos"], expected.inputs["pixel_values_videos"])
    assert found["video_grid_thw"].tolist() == expected.inputs["video_grid_thw"][0].tolist()
    tokens = expected.read.tokens
    per_tube = torch.bincount(tokens.tyx[:, 0], minlength=int(found["video_grid_thw"][0]))
    assert found["framegate_counts"].tolist() == per_tube.tolist()
    assert processed["prompt_token_ids"] == expected.read.inputs["input_ids"][0].tolist()
    (place,) = processed["mm_placeholders"]["video"]
    assert place.get_num_embeds() == tokens.num_tokens


def test_a_cache_of_vllms_gives_the_same_and_tells_configurations_apart(
    processor, served, video, expected, monkeypatch
):
    from vllm.multimodal.cache import MultiModalProcessorOnlyCache

    cache = MultiModalProcessorOnlyCache(served[2])
    items = processor.info.parse_mm_data({"video": [video]})
    first, again = (processor(expected.text, items, cache=cache) for _ in range(2))
    assert first["prompt_token_ids"] == again["prompt_token_ids"]
    assert torch.equal(fields(first)["framegate_source"], fields(again)["framegate_source"])
    assert first["mm_hashes"] == again["mm_hashes"]
    other = served_config(served[0]).override(keep_ratio=0.2)
    monkeypatch.setitem(vars(processor.info), "gate", other)
    assert processor(expected.text, items)["mm_hashes"] != first["mm_hashes"]


def test_a_picture_goes_beside_a_video_as_it_does_without_the_gate(processor, video, expected):
    picture = np.full((96, 128, 3), 90, np.uint8)
    text = expected.text.replace(
        "<|im_start|>user\n", "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>", 1
    )
    both = processor(text, processor.info.parse_mm_data({"image": [picture], "video": [video]}))
    rows = both["mm_kwargs"]["image"][0]["pixel_values"].data
    assert both["mm_placeholders"]["image"][0].get_num_embeds() == len(rows) // 4
    assert torch.equal(fields(both)["pixel_values_videos"], expected.inputs["pixel_values_videos"])


def test_what_a_request_cannot_ask_for_is_a_value_error(processor, video, expected):
    items = processor.info.parse_mm_data({"video": [video]})
    for asked, words in (
        ({"keep_ratio": 0.5}, "keep_ratio cannot be set"),
        ({"fps": [2.0]}, "fps for each video"),
    ):
        with pytest.raises(ConfigError, match=words):
            processor(expected.text, items, hf_processor_mm_kwargs=asked)


def test_positions_are_those_of_transformers_or_moved_to_them(processed, served, expected):
    from vllm.multimodal.inputs import MultiModalFeatureSpec

    from framegate.tools.vllm.qwen3_vl import FramegateQwen3VLForConditionalGeneration as Model

    chosen = object() if selects(served_config(served[0])) else None
    model = SimpleNamespace(config=served[2].hf_config, _select=chosen)
    model._shown = partial(Model._shown, model)
    feature = MultiModalFeatureSpec(
        data=processed["mm_kwargs"]["video"][0],
        modality="video",
        identifier="one",
        mm_position=processed["mm_placeholders"]["video"][0],
    )
    placed, delta = Model.get_mrope_input_positions(model, processed["prompt_token_ids"], [feature])
    want = expected.read.inputs["position_ids"][-3:, 0]
    assert delta == int(want.max()) + 1 - len(processed["prompt_token_ids"])
    assert torch.equal(placed[0], want[0])
    assert torch.equal(placed, want) == (chosen is None)


def test_an_engine_on_a_cpu_reads_and_answers_as_transformers_does(served, video, expected):
    """Prompts cut into steps; the flag that vLLM's runner on a GPU sets by its configuration is set by hand."""
    from vllm import LLM, SamplingParams
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("this vLLM is built for GPUs")

    settings, rate, _ = served
    engine = LLM(
        model=NANO,
        dtype="float32",
        max_model_len=2048,
        max_num_seqs=2,
        max_num_batched_tokens=192,
        enforce_eager=True,
        distributed_executor_backend="uni",
        hf_overrides={"architectures": [ARCHITECTURE], "framegate": settings},
        video_pruning_rate=rate,
    )
    if rate:
        runner = engine.llm_engine.model_executor.driver_worker.worker.model_runner
        runner.is_multimodal_pruning_enabled = True
    prompt = {"prompt": expected.text, "multi_modal_data": {"video": [video]}}
    asked = SamplingParams(temperature=0, max_tokens=8, logprobs=5)
    outputs = engine.generate([prompt, prompt], asked, use_tqdm=False)
    told = expected.model.generate(
        **expected.inputs, max_new_tokens=8, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    new = told.sequences[0, expected.inputs["input_ids"].shape[1] :].tolist()
    likely = torch.log_softmax(told.logits[0][0].float(), -1)
    for output in outputs:
        assert output.prompt_token_ids == expected.read.inputs["input_ids"][0].tolist()
        assert list(output.outputs[0].token_ids) == new
        for token, found in output.outputs[0].logprobs[0].items():
            assert found.logprob == pytest.approx(float(likely[token]), abs=1e-4)
