"""The gate inside of vLLM, without vLLM: against what an attached front end makes of the same video in transformers."""

import numpy as np
import pytest
import torch
from clips import gradient_frames

import framegate
from framegate.errors import ConfigError, PlaceholderError, PlanError
from framegate.models.cell_plan import CellPlan
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.tiny import tiny_pair
from framegate.models.towers.packed import encode_kept
from framegate.models.towers.packed_layout import layout, packed_kwargs
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.tools.vllm.kept import grid_places, is_encoded, kept_patches, read_tokens, with_places
from framegate.tools.vllm.planned import planned_video
from framegate.tools.vllm.positions import Shown, moved, prompt_positions
from framegate.tools.vllm.settings import check_server, selects, served_config

METADATA = {
    "fps": 1000.0,
    "frames_indices": [0, 100, 150, 700, 1400, 1500, 1550, 2900],
    "total_num_frames": 2901,
}
# by what follows: select behind the tower; every shown cell; the kept ones alone; by the gate's threshold
SERVED = {
    "select": {"keep_ratio": 0.25},
    "fewer cells": {"keep_ratio": 0.3, "tower_ratio": 0.5},
    "all shown": {"tower_ratio": 0.25},
    "drop": {"preset": "gate", "keep_ratio": 0.3},
    "threshold": {"min_tokens_per_tube": 1, "threshold": 1.0},
    "whole tower": {"tower_ratio": 1.0, "keep_ratio": 0.3},
    "nothing left out": {"keep_ratio": 1.0},
}


@pytest.fixture(scope="module")
def frames():
    """Eight frames, in which a box moves and a corner flickers."""
    video = gradient_frames(8, height_px=112, width_px=168).copy()
    rng = np.random.default_rng(0)
    for number, frame in enumerate(video):
        frame[16:64, 8 * number : 8 * number + 48] = 255 - 20 * number
        frame[80:, 120:] = rng.integers(0, 256, frame[80:, 120:].shape)
    return video


@pytest.fixture(scope="module", params=SERVED, ids=lambda name: name.replace(" ", "-"))
def both(request, frames):
    """A video planned for vLLM, and the same in transformers: configuration, plan, model, inputs, shortened call."""
    model, processor = tiny_pair("qwen3_vl")
    config = served_config(SERVED[request.param])
    stock = GatedVideoProcessor("qwen3_vl", processor.video_processor.to_dict(), config.plan)
    planned = planned_video(frames, METADATA, stock, config, {})
    front_end = framegate.attach(model, processor, config)
    text = f"<|im_start|>user\nwhen <|vision_start|>{processor.video_token}<|vision_end|> then<|im_end|>"
    inputs = processor(
        text=[text],
        videos=[frames],
        video_metadata=[METADATA],
        do_sample_frames=False,
        return_tensors="pt",
    )
    with torch.no_grad():
        encoding = front_end.encode(**inputs)
    return config, planned, model, inputs, encoding


def shape_of(planned):
    t, h, w = planned.grid_thw
    return t, h // 2, w // 2


def read(planned, config, model):
    """What the tower of transformers gives for the kept patches, and what is read of it."""
    shape, source = shape_of(planned), planned.source
    keep = is_encoded(source)
    cells = CellPlan(keep=keep, anchor=source.long(), shift_patches=None, shapes=(shape,))
    with torch.no_grad():
        out = encode_kept(model.model.visual, planned.rows, torch.tensor([planned.grid_thw]), cells)
    layers = [torch.cat(out.pooler_output), *(torch.cat(layer) for layer in out.deepstack_features)]
    select = TokenSelect(config.select) if selects(config) else None
    return read_tokens(
        torch.cat(layers, 1), source, planned.counts, shape, width=layers[0].shape[1], select=select
    )


def test_rows_and_counts_are_those_of_an_attached_processor(both):
    config, planned, _, inputs, encoding = both
    assert torch.equal(planned.rows, inputs["pixel_values_videos"])
    assert [list(planned.grid_thw)] == inputs["video_grid_thw"].tolist()
    tokens = encoding.tokens
    if tokens is None:
        assert config.is_identity
        assert set(planned.counts.tolist()) == {planned.source.numel() // len(planned.counts)}
        return
    assert planned.counts.tolist() == torch.bincount(tokens.tyx[:, 0], minlength=planned.grid_thw[0]).tolist()


def test_the_towers_tables_and_boundaries_are_those_of_transformers(both):
    _, planned, model, _, _ = both
    tower, grid = model.model.visual, torch.tensor([planned.grid_thw])
    want = packed_kwargs(tower, grid, is_encoded(planned.source), layout(tower, grid))
    kept = kept_patches(planned.source, shape_of(planned), merge_size=2)
    tube = torch.tensor([[1, *planned.grid_thw[1:]]])
    every = torch.ones(len(planned.source) // planned.grid_thw[0], dtype=torch.bool)
    table = packed_kwargs(tower, tube, every, layout(tower, tube))
    for name in ("position_ids", "interp_indices", "interp_weights"):
        assert torch.equal(table[name][kept.places], want[name]), name
    assert np.cumsum([0, *kept.lengths]).tolist() == want["cu_seqlens"].tolist()


def test_what_is_read_is_what_the_language_model_reads_in_transformers(both):
    config, planned, model, _, encoding = both
    if encoding.tokens is None:
        return
    got = read(planned, config, model)
    assert torch.equal(got.features, torch.cat(encoding.tokens.layers, 1))
    assert torch.equal(got.places, encoding.tokens.tyx[:, 1:])


def test_positions_are_those_of_the_full_prompt(both):
    config, planned, model, inputs, encoding = both
    if encoding.tokens is None:
        return
    ids = encoding.inputs["input_ids"][0].tolist()
    want = encoding.inputs["position_ids"][-3:, 0]
    start, end = (getattr(model.config, f"vision_{side}_token_id") for side in ("start", "end"))
    # vLLM looks from the time before the first tube on
    first = ids.index(start) + 1
    cells = None if selects(config) else (planned.source >= 0).nonzero()[:, 0]
    item = Shown(first, shape_of(planned), planned.counts.tolist(), cells)
    placed, delta = prompt_positions(ids, [item], start_id=start, end_id=end)
    assert delta == int(want.max()) + 1 - len(ids)
    if cells is not None:
        assert torch.equal(placed, want)
        return
    assert torch.equal(placed[0], want[0])
    tokens = read(planned, config, model)
    carried = with_places(tokens.features, tokens.places)
    media = (model.config.image_token_id, model.config.video_token_id)
    # in two steps of a prompt, as vLLM cuts long ones
    half = len(carried) // 2
    cut = [number for number, token in enumerate(ids) if token in media][half]
    stripped, placed, _ = moved(ids, [carried[:half]], placed, 0, placeholders=media)
    assert torch.equal(stripped[0], tokens.features[:half])
    _, placed, moved_delta = moved(ids, [carried[half:]], placed, cut, placeholders=media)
    assert torch.equal(placed, want)
    assert moved_delta == delta
    assert moved(ids, [], placed, len(ids), placeholders=media)[2] == delta


def test_pictures_beside_videos_are_placed_as_transformers_places_them():
    model, _ = tiny_pair("qwen3_vl")
    config = model.config
    start, end = config.vision_start_token_id, config.vision_end_token_id
    ids = [1, 2, start, *[config.image_token_id] * 6, end, 3]
    for time in (4, 5):
        ids += [time, start, *[config.video_token_id] * 4, end]
    ids += [6, 7]
    full = torch.tensor([ids])
    types = (full == config.image_token_id).int() + 2 * (full == config.video_token_id).int()
    want, want_delta = model.model.get_rope_index(
        input_ids=full,
        mm_token_type_ids=types,
        image_grid_thw=torch.tensor([[1, 4, 6]]),
        video_grid_thw=torch.tensor([[2, 4, 4]]),
    )
    shown = [
        Shown(3, (1, 2, 3), [6], torch.arange(6), is_video=False),
        Shown(11, (2, 2, 2), [4, 4], torch.arange(8)),
    ]
    placed, delta = prompt_positions(ids, shown, start_id=start, end_id=end)
    assert torch.equal(placed, want[:, 0])
    assert delta == int(want_delta)
    # pictures that vLLM's flag sends the same way as selected tokens stay where they are
    carried = [
        with_places(torch.zeros(6, 8), grid_places(2, 3)),
        with_places(torch.zeros(8, 8), grid_places(2, 2).repeat(2, 1)),
    ]
    media = (config.image_token_id, config.video_token_id)
    assert torch.equal(moved(ids, carried, placed, 0, placeholders=media)[1], placed)


def test_a_tube_that_keeps_nothing_takes_its_place_all_the_same():
    ids = [0, 8, 9, 5, 0, 8, 9, 5]
    shown = [Shown(0, (2, 2, 3), [0, 0], torch.tensor([], dtype=torch.long))]
    placed, delta = prompt_positions(ids, shown, start_id=8, end_id=9)
    assert placed[0].tolist() == [0, 1, 5, 6, 7, 8, 12, 13]
    assert delta == 6


def test_what_does_not_fit_its_plan_is_refused():
    source, counts = torch.tensor([0, 1, 0, -1], dtype=torch.int32), torch.tensor([2, 1])
    with pytest.raises(PlanError, match="gave 3 cells for 2"):
        read_tokens(torch.zeros(3, 4), source, counts, (2, 1, 2), width=4, select=None)
    with pytest.raises(PlanError, match=r"\[2, 1\] tokens, and the prompt was scheduled with \[1, 2\]"):
        read_tokens(torch.zeros(2, 4), source, counts.flip(0), (2, 1, 2), width=4, select=None)
    with pytest.raises(PlanError, match="4 cells, and the grid 2 x 2 x 2"):
        kept_patches(source, (2, 2, 2), merge_size=2)
    for ids, words in (([0, 8, 7, 9], "planned with 2 tokens, and its prompt has 1"), ([0, 7], "no token 8")):
        with pytest.raises(PlaceholderError, match=words):
            prompt_positions(ids, [Shown(0, (1, 1, 2), [2], None)], start_id=8, end_id=9)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "hf-overrides"),
        ({"preset": "grt", "keep_ratio": 0.25}, "scene_merge"),
        ({"context": "anchored", "keep_ratio": 0.25}, "anchored"),
        ({"preset": "down_scaling", "keep_ratio": 0.25}, "down_scaling"),
        ({"select_rule": "vidcom2", "keep_ratio": 0.25}, "vidcom2"),
        ({"select_rule": "change_floor", "use_query": True, "keep_ratio": 0.25}, "use_query"),
        ({"select": None, "keep_ratio": 0.25}, "merges tokens"),
        ({"preset": "gate", "tower_ratio": 0.5, "keep_ratio": 0.25}, "merges tokens"),
        ({"keep_rato": 0.25}, "keep_rato"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused_when_the_server_starts(settings, words):
    with pytest.raises(ConfigError, match=words):
        served_config(settings)


def test_a_rule_that_selects_nothing_is_no_matter():
    assert not selects(served_config({"select_rule": "vidcom2", "tower_ratio": 0.25}))


def test_the_flag_of_vllm_says_the_same_as_the_configuration():
    chosen, all_shown = served_config({"keep_ratio": 0.25}), served_config({"tower_ratio": 0.25})
    for config, rate in ((chosen, 0.75), (all_shown, None), (all_shown, 0.0), (served_config({}), 0.5)):
        check_server(config, pruning_rate=rate, on_cpu=False)
    for config, rate, words in (
        (chosen, None, "set it to 0.75"),
        (chosen, 0.5, "set it to 0.75"),
        (served_config({}), None, "set it to above 0"),
        (all_shown, 0.5, "leave the flag out"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_server(config, pruning_rate=rate, on_cpu=False)


def test_on_a_cpu_nothing_is_selected_for_vllm_moves_no_positions_there():
    check_server(served_config({"tower_ratio": 0.25}), pruning_rate=None, on_cpu=True)
    check_server(served_config({"preset": "gate", "keep_ratio": 0.25}), pruning_rate=None, on_cpu=True)
    with pytest.raises(ConfigError, match="runner on a CPU"):
        check_server(served_config({"keep_ratio": 0.25}), pruning_rate=0.75, on_cpu=True)
