"""Every class of transformers that reads videos is served, or refused by name with a reason; none is both."""

import numpy as np
import pytest
import torch
import transformers
from family_cases import called, family_pair
from packaging.version import Version
from tiny import moving_frames
from transformers_walk import names_defined, video_classes, video_classes_of_transformers

import framegate
from framegate.errors import PlaceholderError, UnsupportedModelError
from framegate.models.families import families, family_of_config, family_of_type
from framegate.models.tiny import tiny_pair
from framegate.models.unsupported import REFUSED

pytestmark = pytest.mark.floor

SERVED = {family.model_class for family in families().values()}


def made_up(name, module="transformers.models.made_up.modeling_made_up", bases=(torch.nn.Module,)):
    """An instance of a class of that name that was never initialised."""
    return object.__new__(type(name, bases, {"__module__": module}))


def test_every_class_that_reads_videos_is_served_or_refused():
    found = video_classes_of_transformers()
    assert len(found) > 40
    missing = sorted(found - SERVED - set(REFUSED))
    assert not missing, (
        f"write a family file for {missing}, or say in models/unsupported.py why there is none"
    )


def test_no_class_is_both():
    both = sorted(SERVED & set(REFUSED))
    assert not both, f"{both} have families now: take them out of models/unsupported.py"
    assert {row["model_class"]: row["reason"] for row in framegate.supported_models(refused=True)} == {
        name: row.reason for name, row in REFUSED.items()
    }


def test_rows_are_of_classes_that_transformers_has_or_had():
    """A release before a class came knows nothing of it; the newest has them all."""
    if Version(transformers.__version__) < Version("5.24"):
        pytest.skip("classes came later")
    assert set(REFUSED) <= names_defined()
    assert {row.closest for row in REFUSED.values() if row.closest} <= set(families())


def test_the_walk_sees_what_it_should():
    source = """
class AModel(Base):
    def get_video_features(self): ...
class AForConditionalGeneration(Base, GenerationMixin):
    def forward(self, pixel_values_videos=None): ...
"""
    assert video_classes(source) == ["AForConditionalGeneration"]
    assert video_classes(source.replace("pixel_values_videos", "pixel_values")) == ["AModel"]
    assert video_classes("class A(Base):\n    if True:\n        def get_video_features(self): ...") == ["A"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_class_says_why(name):
    reason, closest = REFUSED[name]
    with pytest.raises(UnsupportedModelError) as told:
        framegate.attach(made_up(name))
    assert str(told.value).startswith(f"{name} is not supported: {reason}.")
    assert closest in str(told.value)


def test_compression_of_its_own_is_refused_by_name():
    with pytest.raises(
        UnsupportedModelError, match="EVS, config.video_pruning_rate.*reduce the prompt twice"
    ):
        family_of_type("nemotron_h_omni")
    with pytest.raises(UnsupportedModelError, match="attach to model.thinker"):
        family_of_config({"model_type": "qwen3_omni_moe"})


@torch.no_grad()
def test_compression_of_its_own_stands_aside_or_its_prompts_are_refused():
    """VideoLLaMA3's DiffFP, of a video that stands still: at ratio 1 it does what it does, below framegate decides."""
    model, processor = tiny_pair("video_llama_3")
    still = np.repeat(moving_frames(1), 8, axis=0)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        inputs = called(processor, still)
        model(**inputs)
        assert "compression (DiffFP) stands aside" in str(front_end.report.notes)
        assert front_end.report.keep_ratio == pytest.approx(0.5, abs=0.01)
    shortened = called(processor, still, own=False)
    assert not shortened["video_compression_mask"].all()
    want = model(**shortened).logits
    with framegate.attach(model, None, "gate", keep_ratio=1.0):
        assert torch.equal(model(**shortened).logits, want)
    with (
        framegate.attach(model, None, "gate", keep_ratio=0.5),
        pytest.raises(PlaceholderError, match="DiffFP.*reduce the prompt twice.*use_token_compression=False"),
    ):
        model(**shortened)
    assert torch.equal(model(**shortened).logits, want)


@pytest.mark.parametrize("values", [{"model_type": "internvl_chat"}, {}])
def test_code_that_comes_with_a_checkpoint_is_refused(values):
    with pytest.raises(UnsupportedModelError, match="comes with its checkpoint.*docs/extending.md"):
        family_of_config(values | {"auto_map": {"AutoModel": "modeling.Model"}})
    # where transformers has the class, what else the checkpoint brings does not matter
    assert family_of_config({"model_type": "qwen2_vl", "auto_map": {}}).model_type == "qwen2_vl"


@pytest.mark.parametrize("name", ["InternVLChatModel", "Qwen2VLForConditionalGeneration"])
def test_a_model_whose_code_came_with_its_checkpoint_is_refused(name):
    model = made_up(name, "transformers_modules.org.model.modeling")
    with pytest.raises(UnsupportedModelError, match=f"{name} of transformers_modules.*docs/extending.md"):
        framegate.attach(model)


def test_an_inner_model_is_told_its_whole():
    model, _ = family_pair("qwen2_vl")
    with pytest.raises(UnsupportedModelError, match="Attach to the Qwen2VLForConditionalGeneration"):
        framegate.attach(model.model)


def test_a_derived_class_is_served_and_noted():
    model, processor = family_pair("qwen2_vl")
    model.__class__ = type("Mine", (type(model),), {"__module__": "mine"})
    with framegate.attach(model, processor, keep_ratio=0.5) as front_end:
        inputs = processor(
            text=["<|vision_start|><|video_pad|><|vision_end|>"],
            videos=[moving_frames()],
            return_tensors="pt",
        )
        model(**inputs)
        assert "Mine of mine is served as Qwen2VLForConditionalGeneration" in str(front_end.report.notes)
        assert front_end.report.keep_ratio < 1
