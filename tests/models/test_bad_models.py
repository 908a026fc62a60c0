"""Models and processors that do not go together: a clear error with nothing half attached, or a note."""

import copy
from types import SimpleNamespace

import pytest
import torch
from family_cases import NAMES, called, family_pair
from tiny import moving_frames

import framegate
from framegate.errors import AttachmentError
from framegate.models.families import families, processor_families
from framegate.models.towers.patches import PatchLayout
from framegate.models.video_processor.attach import check_processor
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.settings import layout_values
from framegate.tokenizers.plan_config import PlanConfig

pytestmark = pytest.mark.floor


@pytest.fixture(scope="module")
def pair():
    return family_pair("qwen2_vl")


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def refused(model, processor, match):
    """Attaching is refused, and leaves both as they were."""
    before = None if processor is None else processor.video_processor
    with pytest.raises(AttachmentError, match=match):
        framegate.attach(model, processor, keep_ratio=0.5)
    assert hooks(model) == 0
    assert framegate.front_end_of(model) is None
    assert "generate" not in vars(model)
    assert processor is None or processor.video_processor is before


@pytest.mark.parametrize("other", ["llava_onevision", "internvl", "qwen3_vl", "glm4v"])
@torch.no_grad()
def test_a_processor_of_another_family_is_refused_by_name(pair, other):
    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    want = model(**inputs).logits
    _, swapped = family_pair(other)
    name = swapped.video_processor.to_dict()["video_processor_type"]
    refused(model, swapped, rf"qwen2_vl expects a Qwen2VLVideoProcessor, and this \w+ has a {name}")
    assert torch.equal(model(**inputs).logits, want)


def cut(name):
    """How a family's processor cuts frames where its files say nothing."""
    values = layout_values(name, {})
    return tuple(values[key] for key in ("patch_size", "temporal_patch_size", "merge_size"))


def processor_of(name):
    reader = GatedVideoProcessor(name, None, PlanConfig(preset="dense"))
    return SimpleNamespace(video_processor=reader, tokenizer=object())


def test_every_familys_processor_goes_with_towers_that_read_frames_as_it_cuts_them():
    processors, mixed = {name: processor_of(name) for name in NAMES}, 0
    for name in NAMES:
        patch_px, tube, cell = cut(name)
        layout = PatchLayout(
            patch_size_px=patch_px, temporal_patch_size=tube, merge_size=cell, mean=(0,) * 3, std=(1,) * 3
        )
        layout = None if families()[name].recipe.cell_patches else layout
        kinds = {one.recipe.video_values["video_processor_type"] for one in processor_families(name)}
        for other, processor in processors.items():
            fits = families()[other].recipe.video_values["video_processor_type"] in kinds
            mixed += fits and cut(other) != cut(name)
            if fits and (layout is None or cut(other) == cut(name)):
                check_processor(processor, name, layout)
                continue
            words = r"cuts frames by \w+=\d.*the tower of this \w+ reads" if fits else f"{name} expects a"
            with pytest.raises(AttachmentError, match=words):
                check_processor(processor, name, layout)
    # the first pair with one kind of processor and other patches came with transformers 5.24
    assert mixed or "dots3_note" not in NAMES


@pytest.mark.families
@pytest.mark.skipif("dots3_note" not in NAMES, reason="came with transformers 5.24")
def test_a_processor_that_cuts_frames_for_another_tower_is_refused():
    model, _ = family_pair("dots3_note")
    _, swapped = family_pair("qwen3_vl")
    refused(
        model,
        swapped,
        r"Qwen3VLProcessor cuts frames by patch_size=16, temporal_patch_size=2.*reads patch_size=14",
    )


@torch.no_grad()
def test_a_processor_of_kin_is_noted(pair):
    model, _ = pair
    _, kin = family_pair("exaone4_5")
    _, own = family_pair("qwen2_vl")
    for processor, is_noted in ((kin, True), (own, False)):
        with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
            model(**called(own, moving_frames()) if processor is own else taken(kin, own))
            said = str(front_end.report.notes)
        assert ("comes with a Qwen2VLProcessor" in said) == is_noted


def taken(kin, own):
    """Inputs of a processor of kin, its placeholders spelt as the model spells them."""
    inputs = called(kin, moving_frames())
    ids = inputs["input_ids"]
    inputs["input_ids"] = torch.where(ids == kin.video_token_id, own.video_token_id, ids)
    return inputs


@torch.no_grad()
def test_a_tower_without_weights_is_refused(pair):
    model, processor = copy.deepcopy(pair[0]), pair[1]
    inputs = called(processor, moving_frames(), own=False)
    want, tower = model(**inputs).logits, copy.deepcopy(model.model.visual)
    model.model.visual.blocks[0].to("meta")
    refused(model, processor, "blocks.0.* is on the meta device.*load the weights first")
    model.model.visual = tower
    assert torch.equal(model(**inputs).logits, want)


@pytest.mark.parametrize("context", ["kept", "anchored"])
@torch.no_grad()
def test_a_tower_quantised_by_torch_compresses_and_is_itself_again(pair, context):
    model, processor = copy.deepcopy(pair[0]), pair[1]
    quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
    model.model.visual = quantize(model.model.visual, {torch.nn.Linear}, dtype=torch.qint8)
    inputs = called(processor, moving_frames(), own=False)
    want = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, context=context) as front_end:
        assert torch.isfinite(model(**called(processor, moving_frames())).logits).all()
        assert front_end.report.keep_ratio == pytest.approx(0.5, abs=0.01)
    assert hooks(model) == 0
    assert torch.equal(model(**inputs).logits, want)
