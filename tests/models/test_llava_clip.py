"""LLaVA's families over CLIP: their stock processors' crop, the class token, their pooling, pictures beside a video."""

import pytest
import torch
from family_cases import CLOSE, called
from noted import plans_of
from tiny import moving_frames, stock_inputs

import framegate
from framegate.configs.loader import load_config
from framegate.errors import ConfigError, UnsupportedModelError
from framegate.models.cell_plan import CellPlan
from framegate.models.extra_placeholders import ExtraPlaceholders
from framegate.models.families import families, family_of
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import chat_template, tiny_model, tiny_pair, tiny_tokenizer
from framegate.models.towers.grid_geometry import cut_patches, patches_of_cells
from framegate.models.video_processor import attach_processor
from framegate.models.video_processor.settings import sizes_of, stock_values, video_settings

NAMES = ["llava_next_video", "video_llava"]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def stock_processor(name, **sizes):
    """The stock classes, their video processor with torchvision."""
    import transformers as tf

    recipe = families()[name].recipe
    values = stock_values(name, sizes_of(name, families()[name].tiny.size)) | sizes
    of_images, own = recipe.built(values)
    video_class = getattr(tf, recipe.video_values["video_processor_type"])
    return getattr(tf, recipe.processor)(
        image_processor=recipe.image_processor_class()(**of_images),
        tokenizer=tiny_tokenizer(name),
        video_processor=video_class(size=values["size"], crop_size=values["crop_size"]),
        chat_template=chat_template(name),
        **own,
    )


def test_without_a_gate_the_pixels_are_the_cropped_ones_of_stock(name):
    side = families()[name].tiny.size["shortest_edge"]
    for edge in (side, side + 9):
        processor = stock_processor(name, size={"shortest_edge": edge})
        ask = (processor, [[moving_frames()], [moving_frames(seed=1)]], ["a", "Why?"])
        want = stock_inputs(*ask)
        attach_processor(processor, name, load_config("dense").plan)
        got = stock_inputs(*ask)
        assert torch.equal(got["input_ids"], want["input_ids"])
        torch.testing.assert_close(got["pixel_values_videos"], want["pixel_values_videos"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"size": {"shortest_edge": 100}}, "'shortest_edge' of at least 336"),
        ({"size": {"height": 400, "width": 400}}, "or to be the same"),
        ({"crop_size": {"height": 224, "width": 336}}, "crop_size is .*equal"),
        ({"do_center_crop": False}, "size is .* needs 'height' and 'width'"),
    ],
)
def test_sizes_that_give_no_square_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        video_settings("llava_next_video", stock_values("llava_next_video") | changes)


@torch.no_grad()
@pytest.mark.parametrize("layers", [-1, -2, [1, -1]], ids=str)
def test_kept_context_is_the_dense_tower_with_skipped_keys_masked(name, layers):
    """Stock modules on whole frames, keys of skipped patches hidden; the class token sees and is seen."""
    model = tiny_model(name, weight_std=0.15)
    if isinstance(layers, list):
        model.config.vision_feature_layer = layers
        model = type(model)(model.config).eval()
    inner, is_next = model.model, name == "llava_next_video"
    tower = mechanism_of(inner, family_of(model))
    cells = tower.side // tower.merge_size
    keep = torch.rand(5, cells, cells, generator=torch.Generator().manual_seed(0)) < 0.4
    keep[0], keep[2] = True, False
    pixels = torch.randn(5, 3, *[model.config.vision_config.image_size] * 2)
    needed = patches_of_cells(keep, tower.side)
    plan = CellPlan(
        keep=keep.flatten(), anchor=keep.flatten().long(), shift_patches=None, shapes=((5, cells, cells),)
    )
    call = {"vision_feature_layer": layers}
    encoded = tower.encode(cut_patches(pixels, 14)[needed], call, plan, anchored=False, backend="auto")
    clip = tower.tower
    shown = torch.cat([torch.ones(5, 1, dtype=torch.bool), needed.flatten(1)], 1)[:, None, None]
    states = [clip.pre_layrnorm(clip.embeddings(pixels))]
    for block in clip.encoder.layers:
        states.append(block(states[-1], shown))
    picked = states[layers] if isinstance(layers, int) else torch.cat([states[i] for i in layers], -1)
    pooled = inner.vision_resampler(picked[:, 1:]) if is_next else picked[:, 1:]
    want = inner.multi_modal_projector(pooled)[keep.flatten(1)]
    torch.testing.assert_close(encoded.layers[0], want, **CLOSE)
    if not is_next:
        classes = inner.multi_modal_projector(picked[:, 0])
        torch.testing.assert_close(encoded.output, classes[[0, 1, 1, 3, 4]], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["average", "max", "conv"])
def test_every_pooling_of_llava_next_video(mode):
    model, processor = tiny_pair("llava_next_video")
    model.config.spatial_pool_mode = mode
    model = type(model)(model.config).eval()
    inputs = called(processor, moving_frames(), own=False)
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        of_pixels = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        torch.testing.assert_close(model(**called(processor, moving_frames())).logits, of_pixels, **CLOSE)


@pytest.mark.parametrize(
    "changes", [{"vision_feature_select_strategy": "full"}, {"spatial_pool_stride": 4}], ids=str
)
def test_another_pooling_is_refused_by_name(changes):
    model = tiny_model("llava_next_video")
    ((setting, value),) = changes.items()
    setattr(model.config, setting, value)
    with pytest.raises(UnsupportedModelError, match=f"{setting} {value!r}"):
        framegate.attach(model, None, "gate", keep_ratio=0.5)


def test_extra_placeholders_are_counted_and_stay_by_tube_and_by_video():
    extra = ExtraPlaceholders(before_tube=1, after_video=2)
    cells = torch.tensor([[[0, 1]], [[0, 0]], [[1, 0]]]).bool()
    assert extra.per_tube((3, 1, 2)) == [3, 3, 5]
    assert extra.count((3, 1, 2)) == 11
    assert extra.columns(cells).long().tolist() == [1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1]


def rows_read(model):
    """Rows of every call of the language model."""
    read = []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    return read


@torch.no_grad()
@pytest.mark.parametrize("timestamps", [None, {}], ids=["plain", "stamped"])
def test_class_tokens_leave_with_their_frames_and_come_back_with_refilled_ones(timestamps):
    model, processor = tiny_pair("video_llava")
    still = moving_frames(1).repeat(8, 0)
    still[5:, 30:80, 60:110] = 7
    read = rows_read(model)
    settings = {"tower_ratio": 0.3, "timestamps": timestamps}
    for refill in (False, True):
        gate = {"mode": "drop", "refill": refill}
        with framegate.attach(model, processor, "gate", gate=gate, **settings) as front_end:
            inputs = called(processor, still)
            model(**inputs)
            report = front_end.report
        frames = plans_of(inputs)[0].keep.any((1, 2))
        assert 0 < frames.sum() < 8
        is_video = inputs["input_ids"][0] == model.config.video_token_id
        assert int(is_video.sum()) == 8 * 17
        classes = 8 if refill else int(frames.sum())
        assert report.kept_tokens == (8 * 16 if refill else plans_of(inputs)[0].keep.sum())
        text = int((~is_video).sum())
        if timestamps is None:
            assert read[-1].shape[1] == report.kept_tokens + classes + text
        else:
            assert report.kept_time_tokens < text
            assert refill or read[-1].shape[1] < report.kept_tokens + classes + text
    if timestamps is None:  # a frame without a patch of its own brings the class token of the one before
        classes = read[-1][0][is_video].view(8, 17, -1)[:, 0]
        empty = [number for number in range(8) if not frames[number]]
        before = [max(earlier for earlier in range(number) if frames[earlier]) for number in empty]
        assert torch.equal(classes[empty], classes[before])


@torch.no_grad()
def test_nothing_skipped_and_refilled_is_the_dense_prompt():
    model, processor = tiny_pair("video_llava")
    want = model(**called(processor, moving_frames(), own=False)).logits
    settings = {"keep_ratio": 1.0, "tower_ratio": 1.0, "gate": {"mode": "drop", "refill": True}}
    with framegate.attach(model, processor, "gate", **settings):
        torch.testing.assert_close(model(**called(processor, moving_frames())).logits, want, **CLOSE)
