"""The modules of the card, alone: a plain tower with a plan, stamps between tubes; and inside an attached model."""

import numpy as np
import pytest
import torch
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor
from torch import nn

import framegate
from framegate.errors import FrameError, PlaceholderError
from framegate.models.cell_plan import cell_plan


def plan_of(keep):
    """Flat plan of one video whose skipped cells show the last encoded one at their place."""
    tube = np.arange(len(keep), dtype=np.int32)[:, None, None]
    anchor = np.maximum.accumulate(np.where(keep, tube, np.int32(-1)), 0)
    return cell_plan([anchor], [None], cell_px=28, merge_size=2)


def test_a_plain_tower_and_a_plan_give_tokens_of_the_filled_grid():
    keep = np.zeros((3, 2, 2), bool)
    keep[0], keep[2, 0, 1] = True, True
    tokenizer = framegate.GatedResidualTokenizer(nn.Linear(6, 4))
    rows = torch.randn(5, 6)
    tokens = tokenizer(rows, plan_of(keep))
    encoded = tokenizer.tower(rows)
    assert tokens.num_tokens == 12
    assert torch.equal(tokens.features[:4], encoded[:4])
    assert torch.equal(tokens.features[4:8], encoded[:4])
    assert torch.equal(tokens.features[9], encoded[4])
    assert tokens.age.tolist() == [0] * 4 + [1] * 4 + [2, 0, 2, 2]
    assert {name for name, _ in tokenizer.named_parameters()} == {"tower.weight", "tower.bias"}
    with pytest.raises(PlaceholderError, match="5 encoded cells"):
        tokenizer(rows[:4], plan_of(keep))


def test_a_tower_that_belongs_to_a_model_is_no_part_of_the_tokenizer():
    tokenizer = framegate.GatedResidualTokenizer(nn.Linear(6, 4), owns_tower=False, refill=False)
    assert not list(tokenizer.parameters())
    keep = np.zeros((2, 1, 2), bool)
    keep[0] = True
    assert tokenizer(torch.randn(2, 6), plan_of(keep)).num_tokens == 2


def test_stamps_follow_the_tokens_of_their_tube():
    interleaver = framegate.TimestampInterleaver(embed_text=lambda text: torch.full((len(text), 4), -1.0))
    assert interleaver.text([2, 0, 1], [0.0, 0.5, 1.0], "V") == "VV<0.0s><0.5s>V<1.0s>"
    keep = np.zeros((3, 1, 2), bool)
    keep[0], keep[2, 0, 0] = True, True
    tokenizer = framegate.GatedResidualTokenizer(nn.Identity(), refill=False)
    tokens = tokenizer(torch.ones(3, 4), plan_of(keep))
    (video,) = interleaver(tokens, [torch.tensor([0.0, 0.5, 1.0])])
    stamp = len("<0.0s>")
    assert video.is_video.tolist() == [True] * 2 + [False] * stamp + [True] + [False] * stamp
    assert torch.equal(video.features[video.is_video], tokens.features)
    with pytest.raises(FrameError, match="one time per tube"):
        interleaver(tokens, [torch.zeros(2)])


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES[:1])
def test_an_attached_front_end_is_made_of_the_same_modules(family):
    model, processor = stock_model(family), stock_processor(family)
    names = set(model.state_dict())
    settings = {
        "gate": {"refill": True},
        "select": {},
        "spatiotemporal": {"time_heads": 2},
        "keep_ratio": 0.5,
    }
    with framegate.attach(model, None, "gate", **settings) as front_end:
        shown = str(model)
        for name in (
            "GatedResidualTokenizer",
            "Refill",
            "TokenSelect",
            "equal_shares",
            "SpatiotemporalModule",
        ):
            assert name in shown
        assert "TimestampInterleaver" not in shown
        learned = {f"framegate_front_end.{key}" for key in front_end.state_dict()}
        assert {key.split(".")[1] for key in learned} == {"spatiotemporal"}
        assert set(model.state_dict()) == names | learned
        kept = {name: weight.clone() for name, weight in model.state_dict().items()}
        front_end.module.time_gate.data.fill_(0.5)
        with pytest.warns(UserWarning, match=r"hold nothing of the front end.*restore_front_end"):
            model.load_state_dict({name: kept[name] for name in names})
        assert front_end.module.time_gate == 0.5
        model.load_state_dict(kept)
        assert front_end.module.time_gate == 0
        model.train()
        assert front_end.modules.training
        model.to(torch.float64)
        assert front_end.module.rows.dtype == torch.float64
        model.to(torch.float32).eval()
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        model(**inputs)
        assert front_end.report.kept_tokens == round(0.5 * front_end.report.dense_tokens)
        assert front_end.report.tower_ratio == pytest.approx(0.5, abs=0.05)
    assert set(model.state_dict()) == names


@torch.no_grad()
@pytest.mark.parametrize(("family", "stamps"), [("qwen2_vl", True), ("qwen3_vl", False)])
def test_what_encodes_and_what_writes_times_are_the_modules_of_the_card(family, stamps):
    model, processor = stock_model(family), stock_processor(family)
    names = set(model.state_dict())
    settings = {"keep_ratio": 0.5, "timestamps": {}}
    with framegate.attach(model, processor, "framegate", **settings) as front_end:
        modules = front_end.modules
        shown = str(modules)
        assert ("TimestampInterleaver" in shown) == stamps
        assert list(modules)[0] == "gated_residual_tokenizer"
        ran = []
        modules["gated_residual_tokenizer"].register_forward_hook(lambda *_: ran.append("tokenizer"))
        if stamps:
            assert list(modules)[-1] == "timestamp_interleaver"
            assert modules["timestamp_interleaver"] is processor.video_processor.interleaver
            stamp = modules["timestamp_interleaver"].stamp
            processor.video_processor.interleaver.stamp = lambda time: ran.append("stamp") or stamp(time)
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        model(**inputs)
        assert ran == ["stamp"] * 4 * stamps + ["tokenizer"]
        assert set(model.state_dict()) == names
        assert not list(modules.parameters())
        model.train()
        assert all(module.training for module in modules.modules())
    assert "framegate" not in str(model)


@torch.no_grad()
def test_a_processor_that_was_attached_apart_shows_what_it_writes_with():
    from framegate.models.video_processor import attach_processor

    model, processor = stock_model("qwen2_vl"), stock_processor("qwen2_vl")
    with framegate.attach(model, None, "framegate", keep_ratio=0.5, timestamps={}) as front_end:
        attach_processor(processor, "qwen2_vl", front_end.config.plan)
        assert "TimestampInterleaver" not in str(model)
        model(**stock_inputs(processor, [[moving_frames()]], ["What moves?"]))
        assert "TimestampInterleaver" in str(model)
