"""The memory of a session: what it holds at which age, within its budget, for ever."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from framegate.errors import BudgetError, ConfigError
from framegate.models.live.encoder import thin
from framegate.models.live.memory import WHOLE_SHARE, RollingMemory, StoredTube, joined
from framegate.models.live.prompt import stored_inputs
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.tiny import tiny_pair
from framegate.models.video_tokens import VideoTokens

ROWS, COLUMNS, WIDTH = 3, 4, 8
CELLS = ROWS * COLUMNS


def tube(number, *, seconds=None, news=(), encoded=0):
    """A whole tube of random tokens; `news` are the cells that changed."""
    change = torch.zeros(CELLS)
    change[list(news)] = 9.0
    return StoredTube(
        tokens=VideoTokens(
            layers=(torch.randn(CELLS, WIDTH, generator=torch.Generator().manual_seed(number)),),
            cell=torch.arange(CELLS),
            size=torch.ones(CELLS, dtype=torch.long),
            source=torch.arange(CELLS),
            age=torch.where(change > 0, 0, 1),
            shapes=((1, ROWS, COLUMNS),),
        ),
        times_seconds=np.array([float(number if seconds is None else seconds)]),
        number=number,
        encoded_cells=encoded,
        change=change,
        news=change > 0,
    )


def first_ones(one, count):
    """The first tokens of a tube: quicker than a rule, where it does not matter which stay."""
    return replace(one, tokens=one.tokens.kept(torch.arange(CELLS) < count))


def memory(**changes):
    settings = {"max_tokens": 120, "past_tokens_per_tube": 4, "horizon_seconds": 1e9}
    return RollingMemory(thin=first_ones, **settings | changes)


def test_tokens_are_bounded_the_newest_whole_and_the_past_thinned():
    held = memory()
    for number in range(400):
        held.add(tube(number))
        assert held.num_tokens <= 120
        assert held.num_tokens == sum(one.num_tokens for one in held.tubes)
    whole = [one for one in held.tubes if one.is_whole]
    assert [one.number for one in whole] == list(range(400 - len(whole), 400))
    assert 120 * WHOLE_SHARE - CELLS < len(whole) * CELLS <= 120 * WHOLE_SHARE
    assert {one.num_tokens for one in held.tubes if not one.is_whole} == {4}
    assert held.num_bytes == held.num_tokens * WIDTH * 4


def test_the_past_is_held_the_sparser_the_longer_ago_it_is():
    held = memory(max_tokens=240)
    for number in range(400):
        held.add(tube(number))
    ages = 399 - np.array([one.number for one in held.tubes])
    gaps = -np.diff(ages)
    assert held.tubes[0].number == 0
    assert gaps[-3:].tolist() == [1, 1, 1]
    # a moment that is looked for lies no further than half of its age from one that is held
    assert (gaps <= 0.5 * ages[:-1] + 5).all()


def test_what_brought_news_stays_longer_than_what_did_not():
    held = memory()
    for number in range(200):
        held.add(tube(number, news=range(6) if number % 20 == 7 else ()))
    past = [one.number for one in held.tubes if not one.is_whole and 40 < one.number < 180]
    assert len(past) > 3
    assert sum(number % 20 == 7 for number in past) >= 0.7 * len(past)


def test_the_news_of_a_tube_that_goes_are_those_of_the_next():
    held = memory(horizon_seconds=2.5)
    for number, cell in enumerate((0, 1, 2, 3)):
        held.add(tube(number, news=[cell]))
    assert [one.number for one in held.tubes] == [1, 2, 3]
    assert held.tubes[0].news.nonzero()[:, 0].tolist() == [0, 1]


def test_the_most_telling_tokens_of_a_tube_stay():
    one = tube(0)
    layer = one.tokens.layers[0] * 0.01 + 1.0
    layer[7] = -5.0
    odd = VideoTokens(**{**vars(one.tokens), "layers": (layer,)})
    kept = thin(StoredTube(**{**vars(one), "tokens": odd}), 3, select=TokenSelect())
    assert kept.num_tokens == 3
    assert 7 in kept.tokens.cell
    assert torch.equal(kept.tokens.features, layer[kept.tokens.cell])


def test_a_budget_below_two_tubes_is_refused():
    with pytest.raises(BudgetError, match=r"max_video_tokens is 20.*Give 24 or more"):
        memory(max_tokens=20).add(tube(0))


def test_joined_tubes_are_one_video_of_the_tubes_that_are_held():
    held = memory()
    for number in range(100):
        held.add(tube(number, encoded=12 + number))
    video = joined(held.tubes)
    assert video.tokens.shapes == ((len(held.tubes), ROWS, COLUMNS),)
    assert video.tokens.num_tokens == held.num_tokens
    assert video.tokens.counts == [held.num_tokens]
    assert video.seen_tubes == 100
    assert video.video_seconds == 99
    assert video.tokens.tyx[-1].tolist() == [len(held.tubes) - 1, ROWS - 1, COLUMNS - 1]


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_positions_and_times_do_not_drift(family):
    """A session that has run for a year asks as one that has run for minutes: neither ids nor positions know."""
    import framegate

    model, processor = tiny_pair(family)
    with framegate.attach(model, processor) as front_end:
        mechanism, asked = front_end._attached.mechanism, []
        for start in (0.0, 31_536_000.0):
            tubes = [tube(number, seconds=start + 0.5 * number) for number in (0, 3, 4, 9)]
            frames = mechanism.tube_frames
            inputs = stored_inputs(
                processor,
                tubes,
                "What moves at {now-2} seconds?",
                now=tubes[-1].seconds,
                merge_size=2,
                tube_frames=frames,
            )
            positions = mechanism.positions(dict(inputs), inputs["attention_mask"])
            asked.append((inputs["input_ids"], positions))
        (ids, positions), (later_ids, later_positions) = asked
    assert torch.equal(ids, later_ids)
    assert torch.equal(positions, later_positions)
    text = processor.tokenizer.decode(ids[0])
    assert "4.5" in text
    assert "at 2.5 seconds?" in text


def test_a_moment_before_the_first_that_is_held_is_refused():
    model, processor = tiny_pair("qwen3_vl")
    import framegate

    with framegate.attach(model, processor), pytest.raises(ConfigError, match=r"\{now-9\} is before"):
        stored_inputs(processor, [tube(0), tube(5)], "What at {now-9}?", now=5.0, merge_size=2, tube_frames=2)
