"""What some families promise beside the contract of all: pictures, experts, sound, processors of kin, their rules."""

import re

import numpy as np
import pytest
import torch
import transformers
from family_cases import ASKED, CLOSE, FAMILIES, NAMES, called, dense, family_pair, new_frames, new_words
from tiny import moving_frames
from transformers.video_utils import VideoMetadata

import framegate
from framegate.errors import AttachmentError, FrameError, UnsupportedModelError
from framegate.models.families import families, family_of_type
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import tiny_model
from framegate.models.towers.grid_geometry import cut_patches
from framegate.models.video_processor import shell
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.sampling import stock_indices
from framegate.models.video_processor.settings import stock_values, video_settings
from framegate.tokenizers.plan_config import PlanConfig

GLM = [name for name in NAMES if name.startswith("glm")]
# class tokens among the rows of Video-LLaVA are looked at in test_llava_clip.py
POOLED = [name for name in NAMES if families()[name].tower in ("grid", "frames") and name != "video_llava"]
PERCEPTION = [name for name in NAMES if name == "perception_lm"]
ERNIE = [name for name in NAMES if name.startswith("ernie")]
# their stock processors lay pixels out as no other's
LAID_OUT = [*ERNIE, *(name for name in NAMES if name == "cosmos3_edge")]
THINKERS = [name for name in NAMES if name.endswith("_thinker")]


@pytest.fixture
def pair(name):
    return family_pair(name)


@pytest.mark.parametrize("name", [name for name in NAMES if not families()[name].recipe.pictures_beside])
def test_a_picture_beside_a_video_is_refused_where_both_have_one_placeholder(name, pair):
    model, processor = pair
    video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
    marks = families()[name].tiny
    call = {"text": [marks.image_mark + marks.video_mark], "images": [moving_frames(1)[0]], "videos": [video]}
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="two calls"),
    ):
        processor(**call, return_tensors="pt", do_sample_frames=False)


@torch.no_grad()
@pytest.mark.parametrize("name", GLM)
def test_glm_refuses_a_picture_beside_a_video_by_name_where_stock_miscounts(pair):
    model, processor = pair
    video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "video"}]}]
    text = processor.apply_chat_template(chat, tokenize=False)
    inputs = processor(
        text=[text],
        images=[moving_frames(1)[0]],
        videos=[video],
        video_metadata=[{"fps": 4.0, "total_num_frames": 8}],
        do_sample_frames=False,
        return_tensors="pt",
    )
    with pytest.raises(ValueError, match="do not match"):
        model(**inputs)
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    with pytest.raises(AttachmentError, match="one placeholder.*ask about them in two"):
        model(**inputs)


@torch.no_grad()
@pytest.mark.parametrize("has_torchvision", [True, False])
@pytest.mark.parametrize(
    ("name", "other"), [(name, other) for name in NAMES for other in families()[name].processors_of]
)
def test_checkpoints_that_came_with_the_processor_of_kin(pair, other, has_torchvision, tmp_path, monkeypatch):
    model, _ = pair
    _, processor = family_pair(other)
    inputs = dense(processor, moving_frames())
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    monkeypatch.setattr(shell, "torchvision_found", lambda: has_torchvision)
    loaded, gates = framegate.from_pretrained(tmp_path, front_end={"preset": "gate", "keep_ratio": 0.5})
    assert type(gates).__name__ == families()[other].recipe.processor
    short = loaded(**called(gates, moving_frames())).logits
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        torch.testing.assert_close(model(**inputs).logits, short, **CLOSE)


@pytest.mark.parametrize("name", [*GLM, *ERNIE])
@pytest.mark.parametrize(
    ("total", "rate_fps"), [(1, 25.0), (31, 25.0), (250, 29.97), (2000, 24.0), (9000, 30.0), (80000, 24.0)]
)
def test_frames_in_memory_are_sampled_by_the_familys_own_rule(name, total, rate_fps):
    pytest.importorskip("torchvision")
    values = stock_values(name)
    stock = getattr(transformers, values["video_processor_type"])(**drawing_nothing(values))
    of_video = VideoMetadata(total_num_frames=total, fps=rate_fps, duration=total / rate_fps)
    found = stock_indices(total, rate_fps, video_settings(name, values))
    assert found.tolist() == [int(frame) for frame in stock.sample_frames(of_video)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("internvl", {"vision_feature_layer": -2}),
        ("internvl", {"vision_feature_select_strategy": "full"}),
        ("llava_onevision", {"vision_feature_select_strategy": "default"}),
    ],
)
def test_a_keyword_that_kept_cells_cannot_follow_is_refused_and_never_dropped(pair, other):
    model, processor = pair
    inputs = dense(processor, moving_frames())
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    ((keyword, value),) = other.items()
    with pytest.raises(AttachmentError, match=f"{keyword} is {value!r}.*alone"):
        model(**inputs, **other)
    served = {"vision_feature_layer": -1, "vision_feature_select_strategy": None}
    assert torch.equal(model(**inputs, **{keyword: served[keyword]}).logits, model(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if "moe" in name or name == "qwen4_exp"])
def test_experts_are_balanced_over_what_the_language_model_read(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        inputs = called(processor, moving_frames(), moving_frames(seed=1)) | {"output_router_logits": True}
        out, trained = model(**inputs), model(**inputs, labels=inputs["input_ids"])
    assert len(out.router_logits[0]) < inputs["input_ids"].numel()
    assert torch.equal(out.aux_loss, trained.aux_loss)


def test_a_family_of_a_later_transformers_is_refused_with_the_release(monkeypatch):
    monkeypatch.setattr("transformers.__version__", "5.22.1")
    with pytest.raises(
        UnsupportedModelError, match=r"Qwen2_5OmniThinker.*from transformers 5.23 on.*5\.22\.1"
    ):
        family_of_type("qwen2_5_omni_thinker")


@pytest.mark.parametrize("name", THINKERS[:1])
def test_a_whole_of_which_a_part_is_supported_is_refused_with_the_part(pair):
    whole = torch.nn.Module()
    whole.thinker = pair[0]
    with pytest.raises(UnsupportedModelError, match=r"Module is not supported\. Its part \.thinker is"):
        framegate.attach(whole)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if families()[name].tower == "frames"])
def test_pictures_that_may_be_frames_are_told(pair):
    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    front_end = framegate.attach(model, None, "gate", keep_ratio=0.5)
    model(**inputs)
    assert "8 pictures, or tiles of pictures, went the stock path" in str(front_end.report.notes)


def patches_of(tower, count=3):
    """Random frames [1, F, 3, px, px], and their patches, [F, n, n, 3 * p * p]."""
    frames = torch.randn(1, count, 3, tower._image_px, tower._image_px)
    return frames, cut_patches(frames[0], tower._patch_px)


@torch.no_grad()
@pytest.mark.parametrize("name", POOLED)
def test_rows_of_whole_frames_come_to_the_stock_features(name, pair):
    tower = mechanism_of(pair[0].model, family_of_type(name))
    frames, patches = patches_of(tower)
    want = tower.stock_features(frames, {}).flatten(0, -2)
    _, cells, _ = tower.shapes({"pixel_values_videos": frames})[0]
    keep = torch.ones(frames.shape[1], cells, cells, dtype=torch.bool)
    torch.testing.assert_close(tower.encode_kept(patches.flatten(0, 2), keep), want, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", PERCEPTION)
def test_kept_patches_keep_their_rotary_places_and_see_one_another_alone(name, pair):
    tower = mechanism_of(pair[0].model, family_of_type(name))
    frames, patches = patches_of(tower)
    keep = torch.rand(frames.shape[1], tower.side, tower.side) < 0.4
    rows = patches[keep]
    place = keep.flatten(1).nonzero()[:, 1]
    got = tower.states(rows, place, keep.flatten(1).sum(1).tolist(), {})
    seen = torch.nn.functional.pad(keep.flatten(1), (1, 0), value=True)  # the class token too
    states = tower.tower.timm_model.forward_features(frames[0], attn_mask=seen[:, None, None])[:, 1:]
    projector = pair[0].model.multi_modal_projector
    want = projector.linear_2(projector.gelu(projector.linear_1(states)))[keep.flatten(1)]
    torch.testing.assert_close(got, want, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [one for one in FAMILIES if families()[one.values[0]].recipe.pictures_beside]
)
def test_pictures_beside_a_video_stay_whole(pair):
    model, processor = pair
    content = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "Alike?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    call = {"text": [text], "images": [moving_frames(1)[0]]}
    inputs = called(processor, moving_frames(), own=False, **call)
    want = model(**inputs).logits
    with framegate.attach(model, None, "gate", keep_ratio=1.0):
        assert torch.equal(model(**inputs).logits, want)
    with framegate.attach(model, None, "gate", keep_ratio=0.5, timestamps=None) as front_end:
        of_pixels = model(**inputs).logits
        assert front_end.report.kept_tokens == front_end.report.dense_tokens // 2
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, timestamps=None):
        gated = called(processor, moving_frames(), **call)
        torch.testing.assert_close(model(**gated).logits, of_pixels, **CLOSE)
        assert model.generate(**gated, **new_words(model)).shape[1] == gated["input_ids"].shape[1] + 4
    with framegate.attach(model, processor, threshold=1.0, timestamps=None):
        refilled = model(**called(processor, new_frames(), **call)).logits
    inputs = called(processor, new_frames(), own=False, **call)
    torch.testing.assert_close(refilled, model(**inputs).logits, **CLOSE)


@pytest.mark.parametrize("name", PERCEPTION)
@pytest.mark.parametrize(
    ("vision", "settings"),
    [
        ({"img_size": 98, "ref_feat_shape": [7, 7]}, {}),
        ({"class_token": False}, {}),
        ({}, {"projector_pooling_ratio": 1}),
    ],
)
def test_a_perception_encoder_that_is_not_run_as_ours_is_refused(name, vision, settings):
    model = tiny_model(name, vision=vision)
    for setting, value in settings.items():
        setattr(model.config, setting, value)
    with pytest.raises(UnsupportedModelError, match="PerceptionLM.*is not supported; supported are"):
        framegate.attach(model)


@torch.no_grad()
@pytest.mark.parametrize("name", PERCEPTION)
def test_checkpointing_of_gradients_is_followed(pair):
    model, processor = pair
    framegate.attach(model, processor, "gate", keep_ratio=0.5)
    inputs, grads = called(processor, moving_frames()), []
    for _ in range(2):
        with torch.enable_grad():
            model.train()(**inputs, labels=inputs["input_ids"]).loss.backward()
        grads.append(model.model.vision_tower.timm_model.patch_embed.proj.weight.grad.clone())
        model.zero_grad()
        model.model.vision_tower.timm_model.set_grad_checkpointing(True)
    torch.testing.assert_close(grads[1], grads[0])


def drawing_nothing(values):
    """Arguments of a stock video processor that would draw times."""
    return {"draw_on_frames": False} if "draw_on_frames" in values else {}


@pytest.mark.parametrize("name", LAID_OUT)
def test_pixels_lie_as_the_stock_video_processor_lays_them(name):
    pytest.importorskip("torchvision")
    values = stock_values(name)
    stock = getattr(transformers, values["video_processor_type"])(**drawing_nothing(values))
    ours = GatedVideoProcessor(name, values, PlanConfig(preset="dense"))
    side = values["patch_size"] * values["merge_size"]
    frames = np.random.default_rng(0).integers(0, 256, (5, 3, 2 * side, 3 * side), np.uint8)
    call = {"do_resize": False, "do_sample_frames": False, "return_tensors": "pt"}
    want, found = (
        reader.preprocess(
            [torch.from_numpy(frames)], video_metadata=[{"fps": 4.0, "total_num_frames": 5}], **call
        )
        for reader in (stock, ours)
    )
    assert torch.equal(found["video_grid_thw"], want["video_grid_thw"])
    torch.testing.assert_close(found["pixel_values_videos"], want["pixel_values_videos"])


@pytest.mark.parametrize("name", ERNIE)
def test_a_processor_that_draws_times_is_told_to_stop(pair):
    model, processor = pair
    processor.video_processor.draw_on_frames = True
    with pytest.raises(AttachmentError, match="draw_on_frames=True.*draw_on_frames = False before attach"):
        framegate.attach(model, processor, "gate", keep_ratio=0.5)
    processor.video_processor.draw_on_frames = False
    framegate.attach(model, processor, "gate", keep_ratio=0.5).detach()


@torch.no_grad()
@pytest.mark.parametrize("name", ERNIE)
def test_experts_of_pictures_take_placeholders_and_their_marks(pair):
    model, processor = pair
    seen = []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["moe_mm_token_type_ids"]), with_kwargs=True
    )
    inputs = called(processor, moving_frames())
    kinds = inputs["moe_mm_token_type_ids"]
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        model(**called(processor, moving_frames()))
        left_out = front_end.report.dense_tokens - front_end.report.kept_tokens
    assert int((seen[0] == 2).sum()) == int((kinds == 2).sum()) - left_out
    assert seen[0].shape[1] < kinds.shape[1]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if families()[name].reads_times and families()[name].writes_times]
)
def test_a_rate_that_nobody_tells_is_noted_as_the_prompt_has_it(name, pair):
    model, processor = pair
    video = torch.from_numpy(new_frames()).permute(0, 3, 1, 2)
    with framegate.attach(model, processor, "gate", keep_ratio=1.0) as front_end:
        call = {"text": [families()[name].tiny.video_mark], "videos": [video], "do_sample_frames": False}
        out = processor(**call, return_tensors="pt", **ASKED.get(type(processor).__name__, {}))
        model(**{name: value for name, value in out.items() if torch.is_tensor(value)})
        notes = str(front_end.report.notes)
    said = re.search(r"(\d+) frames per second assumed", notes)
    assert said, notes
    # Kimi's placeholder has a number in its name
    text = processor.tokenizer.decode(out["input_ids"][0]).replace(processor.video_token, "")
    # the last time of the prompt lies within its last tube, whatever it is rounded to
    last = max(int(m or 0) * 60 + float(s) for m, s in re.findall(r"(?:(\d+):)?(\d+(?:\.\d+)?)", text))
    assert 7 / int(said[1]) - 1 < last < 7 / int(said[1]) + 0.1


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("minicpm")])
def test_minicpm_resizes_whatever_do_resize_says_as_stock_does(name):
    values = stock_values(name) | {"do_resize": False}
    settings = video_settings(name, values)
    assert settings.size_rule(8, 100, 150, settings) == (392, 560)
    with pytest.raises(FrameError, match="cut into slices"):
        settings.size_rule(8, 720, 1280, settings)


@pytest.mark.parametrize("name", ["llava_onevision"])
def test_a_crop_that_is_not_followed_is_refused(pair):
    model, processor = pair
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="do_center_crop=True"),
    ):
        processor.video_processor.preprocess([moving_frames()], do_center_crop=True)
    processor.video_processor.do_center_crop = True
    with pytest.raises(AttachmentError, match="do_center_crop=True"):
        framegate.attach(model, processor, "gate", keep_ratio=0.5)
