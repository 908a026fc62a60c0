"""Where the tokens of prompts with timestamps stand, and which columns are whose stamp."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from stamped import STAMPED_FAMILIES, mixed_inputs, stamped, stamps_of
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

from framegate.errors import PlaceholderError
from framegate.models.prompt import full_positions, has_stamps, interleaved_positions, stamp_columns
from framegate.models.tiny import tiny_tokenizer

pytestmark = pytest.mark.floor

ZERO_ID = tiny_tokenizer().convert_tokens_to_ids("0")


def layout(*parts):
    """Token types from pairs (kind, length): kinds t, i, v; one row."""
    kinds = {"t": 0, "i": 1, "v": 2}
    return torch.tensor([[kinds[kind] for kind, length in parts for _ in range(length)]])


def placed(types, *, images=None, videos=None, mask=None, **options):
    grids = [None if grid is None else torch.tensor(grid) for grid in (images, videos)]
    mask = torch.ones_like(types) if mask is None else mask
    return interleaved_positions(
        torch.zeros_like(types), types, mask, *grids, spatial_merge_size=2, **options
    )


class TestPositions:
    def test_the_papers_figure(self):
        types = layout(("t", 2), ("v", 4), ("t", 2), ("v", 4), ("t", 2), ("v", 4), ("t", 2), ("t", 2))
        time, rows, columns = placed(types, videos=[[3, 4, 4]])[:, 0].tolist()
        assert time == [0, 1, 2, 2, 2, 2, 3, 4, 5, 5, 5, 5, 6, 7, 8, 8, 8, 8, 9, 10, 11, 12]
        assert rows == [0, 1, 2, 2, 3, 3, 3, 4, 2, 2, 3, 3, 6, 7, 2, 2, 3, 3, 9, 10, 11, 12]
        assert columns == [0, 1, 2, 3, 2, 3, 3, 4, 2, 3, 2, 3, 6, 7, 2, 3, 2, 3, 9, 10, 11, 12]

    def test_after_the_last_tube_comes_what_is_beyond_its_largest_position(self):
        """The jump of the released code: a grid of 16 x 28 cells, three tubes, stamps of five tokens."""
        tube = ("v", 16 * 28)
        types = layout(("t", 10), tube, ("t", 5), tube, ("t", 5), tube, ("t", 5), ("t", 3))
        time = placed(types, videos=[[3, 32, 56]])[0, 0]
        assert time[types[0] == 2].unique().tolist() == [10, 16, 22]
        assert time[-8:].tolist() == list(range(38, 46))  # columns go to 10 + 27 = 37

    def test_the_next_video_is_anchored_anew_and_images_are_stock(self):
        types = layout(
            ("t", 1), ("v", 2), ("t", 1), ("v", 2), ("t", 2), ("i", 6), ("t", 1), ("v", 1), ("t", 1), ("v", 1)
        )
        found = placed(types, images=[[1, 4, 6]], videos=[[2, 2, 4], [2, 2, 2]])[:, 0]
        # the video: text 0, tube 1, stamp 2, tube 3, text from 4; the image from 6, three columns wide
        assert found[0].tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 6, 6, 6, 6, 6, 6, 9, 10, 11, 12]
        assert found[1].tolist() == [0, 1, 1, 2, 1, 1, 4, 5, 6, 6, 6, 7, 7, 7, 9, 10, 11, 10]
        assert found[2].tolist() == [0, 1, 2, 2, 1, 2, 4, 5, 6, 7, 8, 6, 7, 8, 9, 10, 11, 10]

    def test_padding_gets_zero_and_moves_nothing(self):
        types = layout(("t", 2), ("v", 4), ("t", 2), ("v", 4), ("t", 3))
        alone = placed(types, videos=[[2, 4, 4]])
        padded = torch.cat([torch.zeros((1, 3), dtype=torch.long), types], dim=1)
        mask = torch.ones_like(padded)
        mask[:, :3] = 0
        found = placed(padded, videos=[[2, 4, 4]], mask=mask)
        assert torch.equal(found[..., 3:], alone)
        assert not found[..., :3].any()

    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            ([("v", 3), ("t", 1), ("v", 5)], "3 video placeholders in a row for video 0"),
            ([("v", 4), ("t", 1), ("v", 8)], "1 of 2 tubes of 4 are left"),
            ([("v", 4), ("t", 1)], "1 of its 2 tubes"),
            ([("v", 4), ("i", 1), ("v", 4)], "within another medium"),
            ([("v", 8), ("t", 1), ("v", 4)], "without a grid"),
            ([("t", 3)], "more grids"),
        ],
    )
    def test_placeholders_that_do_not_fit_are_refused(self, parts, words):
        with pytest.raises(PlaceholderError, match=words):
            placed(layout(*parts), videos=[[2, 4, 4]])


def steps_of(model, inputs):
    seconds = inputs.get("second_per_grid_ts")
    return (
        None
        if seconds is None
        else [float(model.config.vision_config.tokens_per_second * s) for s in seconds]
    )


class TestStockEquality:
    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_without_stamps_ours_are_those_of_the_stock_model(self, family):
        model, inputs = stock_model(family), mixed_inputs(stock_processor(family))
        names = inspect.signature(model.model.get_rope_index).parameters
        expected = model.model.get_rope_index(**{name: inputs[name] for name in names if name in inputs})[0]
        found = interleaved_positions(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            inputs["attention_mask"],
            inputs["image_grid_thw"],
            inputs["video_grid_thw"],
            spatial_merge_size=2,
            tube_steps=steps_of(model, inputs),
        )
        assert torch.equal(found, expected)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_full_positions_leaves_prompts_without_stamps_to_the_stock_model(self, family):
        model, inputs = stock_model(family).model, mixed_inputs(stock_processor(family))
        names = inspect.signature(model.get_rope_index).parameters
        expected = model.get_rope_index(**{name: inputs[name] for name in names if name in inputs})[0]
        assert not has_stamps(model.config, inputs, inputs["mm_token_type_ids"])
        assert torch.equal(full_positions(model, inputs, inputs["attention_mask"]), expected)

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_full_positions_places_stamped_prompts(self, family):
        model, inputs = stock_model(family).model, mixed_inputs(stamped(family))
        mask = inputs["attention_mask"]
        assert has_stamps(model.config, inputs, inputs["mm_token_type_ids"])
        found = full_positions(model, inputs, mask)
        expected = interleaved_positions(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            mask,
            inputs["image_grid_thw"],
            inputs["video_grid_thw"],
            spatial_merge_size=2,
        )
        assert torch.equal(found, expected)  # the single tube of one video needs no step
        first = found[:, 0][:, inputs["mm_token_type_ids"][0] == 2].unflatten(1, (4, -1))  # [3, T, H*W]
        assert (first[0] == first[0, :, :1]).all()
        stamp = len("<0.0s>")  # the tiny tokenizer's tokens are bytes
        assert first[0, :, 0].diff().tolist() == [stamp + 1] * 3
        assert torch.equal(first[1:], first[1:, :1].expand_as(first[1:]))

    def test_a_video_in_one_run_beside_a_stamped_one_keeps_its_stock_step(self):
        model, seconds = stock_model("qwen2_5_vl").model, torch.tensor([1.5])
        plain = stock_inputs(stock_processor("qwen2_5_vl"), [[moving_frames(6)]], ["What?"])
        marked = stock_inputs(stamped("qwen2_5_vl"), [[moving_frames(6)]], ["What?"])
        padding = marked["input_ids"].shape[1] - plain["input_ids"].shape[1]
        ids = torch.cat([torch.nn.functional.pad(plain["input_ids"], (padding, 0)), marked["input_ids"]])
        mask = torch.ones_like(ids)
        mask[0, :padding] = 0
        grids = torch.cat([plain["video_grid_thw"], marked["video_grid_thw"]])
        call = {"input_ids": ids, "video_grid_thw": grids, "second_per_grid_ts": seconds.repeat(2)}
        expected = model.get_rope_index(
            plain["input_ids"],
            plain["mm_token_type_ids"],
            video_grid_thw=plain["video_grid_thw"],
            second_per_grid_ts=seconds,
        )[0]
        assert torch.equal(full_positions(model, call, mask)[:, :1, padding:], expected)

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_the_stock_model_takes_a_stamped_prompt_with_these_positions(self, family):
        """Every token kept, nothing attached: forward and generate agree, and the times in the prompt matter."""
        model, inputs = stock_model(family), mixed_inputs(stamped(family))
        inputs.pop("framegate_notes")
        mask = inputs["attention_mask"]
        text = (mask.cumsum(1) - 1).clamp(min=0)
        positions = torch.cat([text[None], full_positions(model.model, inputs, mask)])
        with torch.no_grad():
            out = model.generate(**inputs, position_ids=positions, max_new_tokens=3, do_sample=False)
            ids, length = inputs["input_ids"], inputs["input_ids"].shape[1]
            for _ in range(3):
                later = positions[..., -1:] + 1 + torch.arange(ids.shape[1] - length)
                call = {
                    "input_ids": ids,
                    "attention_mask": torch.nn.functional.pad(mask, (0, ids.shape[1] - length), value=1),
                    "position_ids": torch.cat([positions, later], dim=2),
                }
                logits = model(**inputs | call).logits[:, -1]
                ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
            changed = inputs["input_ids"].masked_fill(inputs["input_ids"] == ZERO_ID, ZERO_ID + 1)
            other = model(**inputs | {"input_ids": changed}, position_ids=positions).logits[:, -1]
            same = model(**inputs, position_ids=positions).logits[:, -1]
        assert torch.equal(out, ids)
        assert not torch.allclose(same, other)


class TestStampColumns:
    def columns(self, inputs, end="<|vision_end|>"):
        grids = inputs["video_grid_thw"].tolist()
        return stamp_columns(
            inputs["input_ids"],
            inputs["mm_token_type_ids"],
            [[height * width // 4] * tubes for tubes, height, width in grids],
            vision_end_id=None if end is None else tiny_tokenizer().convert_tokens_to_ids(end),
        )

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_each_stamp_is_that_of_its_tube(self, family):
        processor = stamped(family)
        inputs = mixed_inputs(processor)
        found = self.columns(inputs)
        ids = inputs["input_ids"]
        texts = [processor.tokenizer.decode(ids[found == tube]) for tube in range(8)]
        assert texts == ["<0.0s>", "<0.5s>", "<1.0s>", "<1.5s>", "<0.0s>", "<0.0s>", "<0.5s>", "<1.0s>"]
        assert set(found[0].tolist()) == {-1, 0, 1, 2, 3}
        rest = processor.tokenizer.decode(ids[1][found[1] == -1])
        assert stamps_of(rest) == []
        assert "And how do these two differ?" in rest
        assert not ((found >= 0) & (inputs["mm_token_type_ids"] != 0)).any()

    def test_without_an_end_token_the_last_stamp_stays(self):
        processor = stamped("qwen2_vl")
        inputs = mixed_inputs(processor)
        found = self.columns(inputs, end=None)
        assert sorted(set(found.flatten().tolist())) == [-1, 0, 1, 2, 5, 6]

    def test_the_end_of_another_block_closes_nothing(self):
        processor = stamped("qwen2_vl")
        text = "<|video_pad|> then <|vision_start|><|image_pad|><|vision_end|> what?"
        picture = Image.fromarray(moving_frames(1)[0])
        inputs = processor(text=[text], videos=[moving_frames(4)], images=[picture], return_tensors="pt")
        found = self.columns(inputs)
        assert processor.tokenizer.decode(inputs["input_ids"][found == 0]) == "<0.0s>"
        assert not (found == 1).any()

    def test_right_padding_and_prompts_without_stamps(self):
        processor = stock_processor("qwen2_vl")
        processor.tokenizer.padding_side = "right"
        inputs = mixed_inputs(processor)
        assert (self.columns(inputs) == -1).all()

    def test_counts_that_do_not_fit_are_refused(self):
        types = layout(("t", 1), ("v", 4))
        with pytest.raises(PlaceholderError, match="4 video placeholders, and their tubes 5"):
            stamp_columns(torch.zeros_like(types), types, [[2, 3]], vision_end_id=9)


def test_many_tubes_are_placed_as_few_are():
    types = layout(("t", 4), *[("v", 12), ("t", 6)] * 300)
    time = placed(types, videos=[[300, 6, 8]])[0, 0]
    assert np.array_equal(time[types[0] == 2].reshape(300, 12)[:, 0], 4 + 7 * np.arange(300))
