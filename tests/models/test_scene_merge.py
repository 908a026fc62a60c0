"""Scene merging: scenes by hand, floors to the token, the released code's rule, and what stands aside."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.errors import ConfigError
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.stages.scene_merge.merge import merge_scenes
from framegate.models.stages.scene_merge.scenes import Join, nearest_joins
from framegate.models.video_tokens import VideoTokens

WIDTH = 16
FEATURES = SceneMergeConfig(distribution="features")


def gated(keep, features):
    """Tokens of a video [T, H, W] whose skipped cells show what was last kept there."""
    flat = keep.flatten(1)
    number = torch.arange(keep.numel()).reshape(flat.shape)
    anchor = torch.where(flat, number, -1).cummax(0).values.flatten()
    return VideoTokens.of_cells([features[keep]], keep.flatten(), anchor, [tuple(keep.shape)])


def together(*videos):
    """The tokens of several videos as those of one call."""
    cells = [0, *torch.tensor([video.num_cells for video in videos]).cumsum(0).tolist()]
    counts = [0, *torch.tensor([video.num_tokens for video in videos]).cumsum(0).tolist()]
    return VideoTokens(
        layers=tuple(torch.cat(layer) for layer in zip(*(video.layers for video in videos), strict=True)),
        cell=torch.cat([video.cell + start for video, start in zip(videos, cells, strict=False)]),
        size=torch.cat([video.size for video in videos]),
        source=torch.cat(
            [
                torch.where(video.source >= 0, video.source + start, -1)
                for video, start in zip(videos, counts, strict=False)
            ]
        ),
        age=torch.zeros_like(
            torch.cat([video.cell + start for video, start in zip(videos, cells, strict=False)])
        ),
        shapes=tuple(shape for video in videos for shape in video.shapes),
    )


def looks(*names, rows=2, columns=2, noise=0.0):
    """Features [T, rows, columns, WIDTH] of tubes that show a picture by name, the same name the same picture."""
    pictures = {}
    for name in names:
        generator = torch.Generator().manual_seed(ord(name))
        scene = 2 * torch.randn(WIDTH, generator=generator)
        pictures[name] = scene + 0.5 * torch.randn(rows, columns, WIDTH, generator=generator)
    found = torch.stack([pictures[name] for name in names])
    return found + noise * torch.randn(found.shape, generator=torch.Generator().manual_seed(0))


def random_video(tubes, rows, columns, seed, *, key_share=0.5):
    """A video of which some tubes are encoded whole, others in part, some not at all."""
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(tubes, rows, columns, generator=generator) < 0.3
    keep[torch.rand(tubes, generator=generator) < key_share] = True
    keep[0] = True
    pictures = "".join("ABC"[int(i)] for i in torch.randint(0, 3, (tubes,), generator=generator))
    noise = 0.1 * torch.randn(tubes, rows, columns, WIDTH, generator=generator)
    return gated(keep, looks(*pictures, rows=rows, columns=columns) + noise)


def check_whole(tokens, before):
    """Nothing is lost: every cell shown before is shown, by as many tokens as sizes say, of its own video."""
    assert torch.equal(
        torch.bincount(tokens.source[tokens.source >= 0], minlength=tokens.num_tokens), tokens.size
    )
    assert torch.equal(tokens.source >= 0, before.source >= 0)
    assert int(tokens.size.sum()) == int(before.size.sum())


def a_p_b_a():
    """Scene A with one P token in its second tube, then B, then A again."""
    keep = torch.ones(4, 2, 2, dtype=torch.bool)
    keep[1] = False
    keep[1, 0, 1] = True
    return gated(keep, looks("A", "P", "B", "A", noise=0.05))


def test_recurring_scenes_merge_to_two():
    tokens = a_p_b_a()
    merged = merge_scenes(tokens, SceneMergeConfig(distribution="features", recurring=True))
    assert merged.scenes[0].tolist() == [0, 0, 1, 0]
    left = merged.tokens
    assert left.cell.tolist() == [0, 1, 2, 3, 5, 8, 9, 10, 11]
    assert left.size.tolist() == [3, 2, 3, 3, 1, 1, 1, 1, 1]
    first, again = tokens.features[:4], tokens.features[9:]
    weight = tokens.size[:4, None].float()
    torch.testing.assert_close(left.features[:4], (first * weight + again) / (weight + 1))
    assert torch.equal(left.features[4:], tokens.features[4:9])  # the P token, and B
    assert left.source[12:].tolist() == [0, 1, 2, 3]
    check_whole(left, tokens)


def test_scenes_apart_do_not_merge_by_default():
    tokens = a_p_b_a()
    merged = merge_scenes(tokens, FEATURES)
    assert merged.scenes[0].tolist() == [0, 0, 1, 2]
    assert merged.tokens is tokens
    assert merged.notes == ()


def test_neighbouring_scenes_of_a_cut_that_was_none_merge():
    keep = torch.ones(3, 2, 2, dtype=torch.bool)
    keep[1, 1, 1] = False  # three of four cells are no new scene, four are
    tokens = gated(keep, looks("A", "B", "A", noise=0.05))
    merged = merge_scenes(tokens, FEATURES)
    assert merged.scenes[0].tolist() == [0, 0, 0]
    assert merged.tokens.counts == [7]


def test_the_fraction_is_exceeded_not_met():
    keep = torch.ones(2, 2, 2, dtype=torch.bool)
    keep[1, 1, 1] = False
    tokens = gated(keep, looks("A", "B"))
    for fraction, scenes in ((0.75, [0, 0]), (0.74, [0, 1])):
        config = SceneMergeConfig(distribution="features", scene_cut_fraction=fraction)
        assert merge_scenes(tokens, config).scenes[0].tolist() == scenes


def test_a_group_is_known_by_its_running_mean():
    far = torch.tensor([[0.9, 0.1], [0.75, 0.25], [0.6, 0.4]])
    config = SceneMergeConfig(divergence_threshold=0.03)
    # neighbours are 0.020 and 0.013 apart, the last and the first 0.062: the mean of the near pair decides
    joins = nearest_joins(far, config)
    assert [(join.into, join.gone) for join in joins] == [(1, 2)]
    joins = nearest_joins(far, SceneMergeConfig(divergence_threshold=0.05))
    assert [(join.into, join.gone) for join in joins] == [(1, 2), (0, 1)]
    mean = (far[1] + far[2]) / 2
    middle = (far[0] + mean) / 2
    wanted = sum(float((p * (p / middle).log()).sum()) for p in (far[0], mean)) / 2
    assert joins[1].divergence == pytest.approx(wanted, rel=1e-5)


def test_ties_go_to_the_earlier_pair():
    rows = torch.tensor([[0.5, 0.5]]).expand(3, 2)
    assert nearest_joins(rows, SceneMergeConfig()) == [Join(0, 1, 0.0), Join(0, 2, 0.0)]


def test_the_head_decides():
    tokens = a_p_b_a()
    config = SceneMergeConfig(recurring=True)

    def blind(features):
        return torch.zeros(len(features), 5)

    def seeing(features):
        return 5 * features

    assert merge_scenes(tokens, config, head=blind).scenes[0].tolist() == [0, 0, 0, 0]
    assert merge_scenes(tokens, config, head=seeing).scenes[0].tolist() == [0, 0, 1, 0]


def test_reversed_divergence_has_no_bound():
    tokens = a_p_b_a()
    config = SceneMergeConfig(divergence="reversed", divergence_threshold=math.log(2), recurring=True)
    assert merge_scenes(tokens, config, head=lambda x: 20 * x).scenes[0].tolist() == [0, 0, 1, 0]
    plain = SceneMergeConfig(divergence_threshold=math.log(2) + 0.01, recurring=True)
    assert merge_scenes(tokens, plain, head=lambda x: 20 * x).scenes[0].tolist() == [0, 0, 0, 0]


def test_without_a_head_the_error_names_features():
    with pytest.raises(ConfigError, match='distribution="features"'):
        merge_scenes(a_p_b_a(), SceneMergeConfig())


def test_one_scene_stands_aside_with_a_note():
    keep = torch.zeros(3, 2, 2, dtype=torch.bool)
    keep[0] = keep[2, 0, 0] = True
    tokens = gated(keep, looks("A", "A", "B"))
    merged = merge_scenes(tokens, FEATURES)
    assert merged.tokens is tokens
    assert merged.scenes[0].tolist() == [0, 0, 0]
    assert "divergence needs two scenes and there is 1" in merged.notes[0]


def test_tubes_and_videos_without_tokens():
    late = torch.zeros(4, 2, 2, dtype=torch.bool)
    late[1], late[3] = True, True
    tokens = together(
        gated(late, looks("B", "A", "B", "A")), gated(torch.zeros(2, 2, 2).bool(), looks("A", "B"))
    )
    merged = merge_scenes(tokens, FEATURES)
    assert [scenes.tolist() for scenes in merged.scenes] == [[0, 0, 0, 0], [0, 0]]
    assert merged.tokens.counts == [4, 0]
    assert "there is 0" in merged.notes[0]
    top = merge_scenes(tokens, SceneMergeConfig(merge_rule="top_k", distribution="features", top_k_minimum=1))
    assert top.tokens.counts == [4, 0]


def test_under_a_floor_the_nearest_pair_merges_first_and_its_most_similar_cells():
    keep = torch.ones(4, 2, 2, dtype=torch.bool)
    features = looks("A", "A", "B", "B")
    features[1] += 0.3 * torch.randn(2, 2, WIDTH)
    features[3, 0] += 0.01 * torch.randn(2, WIDTH)
    features[3, 1, 0] += 0.05 * torch.randn(WIDTH)
    features[3, 1, 1] += 0.1 * torch.randn(WIDTH)
    tokens = gated(keep, features)
    found = {floor: merge_scenes(tokens, FEATURES, floor=[floor]) for floor in range(8, 17)}
    assert {floor: merged.tokens.counts for floor, merged in found.items()} == {f: [f] for f in range(8, 17)}
    assert found[8].scenes[0].tolist() == [0, 0, 1, 1]
    assert found[12].scenes[0].tolist() == [0, 1, 2, 2]
    assert found[13].scenes[0].tolist() == [0, 1, 2, 3]  # in part counts as two
    assert 15 in found[13].tokens.cell  # of the nearest pair the least similar cell is left
    assert 14 in found[14].tokens.cell
    assert "within the budget" in found[16].notes[0]


@given(
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_floors_are_met_exactly(tubes, rows, columns, recurring, repeats, seed):
    tokens = together(random_video(tubes, rows, columns, seed), random_video(2, 2, 2, seed + 1))
    config = SceneMergeConfig(
        distribution="features", recurring=recurring, merge_repeats=repeats, repeat_similarity=0.9
    )
    free = merge_scenes(tokens, config).tokens
    check_whole(free, tokens)
    for share in (0.0, 0.3, 0.6, 1.0, 1.5):
        floor = [max(1, int(share * count)) for count in tokens.counts]
        left = merge_scenes(tokens, config, floor=floor).tokens
        check_whole(left, tokens)
        bounds = zip(tokens.counts, floor, free.counts, strict=True)
        assert left.counts == [min(have, max(least, lowest)) for have, least, lowest in bounds]


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(["merge", "top_k"]), st.booleans())
def test_a_batch_is_its_videos_alone(seed, rule, budget):
    videos = [random_video(5, 2, 3, seed), random_video(3, 3, 2, seed + 1), random_video(1, 2, 2, seed + 2)]
    recurring = rule == "merge"
    config = SceneMergeConfig(
        merge_rule=rule, recurring=recurring, merge_repeats=recurring, top_k_minimum=2, repeat_similarity=0.9
    )
    floors = [[max(1, video.num_tokens // 2)] if budget else None for video in videos]
    weights = torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(seed))
    alone = [
        merge_scenes(video, config, head=lambda x: x @ weights.T, floor=floor)
        for video, floor in zip(videos, floors, strict=True)
    ]
    floor = [least for floor in floors for least in floor] if budget else None
    batch = merge_scenes(together(*videos), config, head=lambda x: x @ weights.T, floor=floor)
    wanted = together(*(one.tokens for one in alone))
    assert torch.equal(batch.tokens.features, wanted.features)
    assert torch.equal(batch.tokens.cell, wanted.cell)
    assert torch.equal(batch.tokens.source, wanted.source)
    assert [scenes.tolist() for scenes in batch.scenes] == [one.scenes[0].tolist() for one in alone]


def test_gradients_reach_merged_and_repeated_tokens():
    tokens = a_p_b_a()
    features = tokens.features.clone().requires_grad_()
    config = SceneMergeConfig(
        distribution="features", recurring=True, merge_repeats=True, repeat_similarity=-1.0
    )
    merged = merge_scenes(tokens.with_features(features), config).tokens
    assert merged.counts == [8]
    merged.features.sum().backward()
    assert bool((features.grad > 0).all())


def repeats_of(*values, similarity=0.95, keys=(True,), floor=None):
    """Merge repeats in a video of two cells: the first shows the given directions, the second nothing new."""
    keep = torch.zeros(len(values), 1, 2, dtype=torch.bool)
    keep[:, 0, 0] = True
    keep[: len(keys), 0, 1] = torch.tensor(keys)
    features = torch.zeros(len(values), 1, 2, 2)
    features[:, 0, 0] = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in values])
    features[:, 0, 1, 1] = 1
    tokens = gated(keep, features)
    config = SceneMergeConfig(
        distribution="features", divergence_threshold=0, merge_repeats=True, repeat_similarity=similarity
    )
    return tokens, merge_scenes(tokens, config, floor=floor)


def test_repeats_at_a_cell_merge_and_others_stay():
    tokens, merged = repeats_of(0.0, 0.1, 1.5, 1.5, 0.0)
    left = merged.tokens
    assert left.cell.tolist() == [0, 1, 4, 8]
    assert left.size.tolist() == [2, 5, 2, 1]
    torch.testing.assert_close(left.features[0], tokens.features[[0, 2]].mean(0))
    check_whole(left, tokens)


def test_repeats_are_compared_with_the_running_mean():
    angle = math.acos(0.95) * 0.9
    _, merged = repeats_of(0.0, angle, 2 * angle)  # near to the one before, but not to the mean of both
    assert merged.tokens.source[::2].tolist() == [0, 0, 2]


def test_key_tokens_begin_anew():
    _, merged = repeats_of(0.0, 0.0, 0.0, 0.0, keys=(True, False, True))
    assert merged.tokens.cell.tolist() == [0, 1, 4, 5]
    assert merged.scenes[0].tolist() == [0, 0, 1, 1]


def test_under_a_floor_the_most_alike_repeats_merge():
    _, merged = repeats_of(0.0, 0.2, 0.2, 0.1, similarity=0.9, floor=[4])
    # the mean of the first three is at 0.13, to which the last is nearer than they were to those before them
    assert merged.tokens.cell.tolist() == [0, 1, 2, 4]
    assert merged.tokens.source[::2].tolist() == [0, 2, 3, 3]


TOP_K = SceneMergeConfig(merge_rule="top_k", distribution="features", top_k_minimum=2)


def shown_again(tokens, first):
    """The same tokens, of which only the first ones were encoded in their own tube, as in mode "reuse"."""
    return replace(tokens, age=(torch.arange(tokens.num_tokens) >= first).long())


def test_top_k_keeps_the_best_of_every_tube_in_order():
    tokens = gated(torch.ones(2, 1, 5, dtype=torch.bool), looks("A", "B", rows=1, columns=5))
    scores = torch.tensor([0.1, 0.9, 0.5, 1.0, 0.2, 1.0, 0.0, 0.3, 0.2, 0.9])
    # the first tube is a key tube; its tokens rank by norm, whatever their scores
    left = merge_scenes(shown_again(tokens, first=5), TOP_K, scores=scores).tokens
    norms = tokens.features[:5].norm(dim=1)
    best = norms.argsort(descending=True)[:3].sort().values
    assert left.cell.tolist() == [*best.tolist(), 5, 7, 9]
    assert torch.equal(left.features, tokens.features[left.cell])
    gone = [cell for cell in range(10) if cell not in left.cell]
    assert left.source[gone].tolist() == [-1] * 4


def test_top_k_averages_nothing_where_scenes_are_the_same():
    tokens = gated(torch.ones(3, 2, 4, dtype=torch.bool), looks("A", "A", "B", rows=2, columns=4, noise=0.01))
    merged = merge_scenes(tokens, TOP_K)
    assert merged.scenes[0].tolist() == [0, 0, 1]
    assert merged.tokens.counts == [12]
    assert torch.equal(merged.tokens.features, tokens.features[merged.tokens.cell])


@pytest.mark.parametrize(
    ("count", "ratio", "minimum", "kept"),
    [(729, 0.5, 16, 365), (20, 0.5, 16, 16), (9, 0.5, 16, 9), (30, 0.1, 1, 3), (1, 0.01, 1, 1)],
)
def test_top_k_counts(count, ratio, minimum, kept):
    tokens = gated(torch.ones(1, 1, count, dtype=torch.bool), torch.randn(1, 1, count, 4))
    config = SceneMergeConfig(
        merge_rule="top_k", distribution="features", top_k_ratio=ratio, top_k_minimum=minimum
    )
    assert merge_scenes(tokens, config).tokens.counts == [kept]


def test_without_scores_change_against_the_tube_before_counts():
    features = looks("A", "A", rows=1, columns=4)
    features[1, 0, 1] += 0.1
    features[1, 0, 3] += 0.2
    tokens = gated(torch.ones(2, 1, 4, dtype=torch.bool), features)
    left = merge_scenes(shown_again(tokens, first=4), TOP_K).tokens
    assert left.cell[left.cell >= 4].tolist() == [5, 7]


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_top_k_leaves_exactly_the_budget(tubes, rows, columns, seed):
    tokens = together(random_video(tubes, rows, columns, seed), random_video(2, 2, 2, seed + 1))
    for share in (0.01, 0.4, 0.8, 1.0):
        floor = [max(1, int(share * count)) for count in tokens.counts]
        left = merge_scenes(tokens, TOP_K, floor=floor).tokens
        assert left.counts == floor
        filled = [len(torch.unique(tokens.tyx[tokens.video == video, 0])) for video in range(2)]
        held = [len(torch.unique(left.tyx[left.video == video, 0])) for video in range(2)]
        assert held == [min(f, h) for f, h in zip(filled, floor, strict=True)]


def test_top_k_that_drops_nothing_says_why():
    tokens = gated(torch.ones(2, 3, 5, dtype=torch.bool), looks("A", "B", rows=3, columns=5))
    config = SceneMergeConfig(merge_rule="top_k", distribution="features")
    merged = merge_scenes(tokens, config)  # 15 tokens per tube, and the released code keeps 16
    assert merged.tokens.counts == [30]
    assert "drops nothing of 30 tokens" in merged.notes[0]
    assert "top_k_minimum 16" in merged.notes[0]
    assert merge_scenes(tokens, TOP_K).notes == ()


@pytest.mark.parametrize("scores", [torch.ones(3), torch.full((13,), math.nan)])
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ConfigError, match="each of 13 tokens"):
        merge_scenes(a_p_b_a(), TOP_K, scores=scores)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"merge_rule": "mean"}, "merge_rule is 'mean'"),
        ({"divergence": "jsd"}, "divergence is 'jsd'"),
        ({"distribution": "lm"}, "distribution is 'lm'"),
        ({"divergence_threshold": -0.1}, "divergence_threshold is -0.1; it must be 0 or more"),
        ({"divergence_threshold": math.nan}, "divergence_threshold is nan"),
        ({"scene_cut_fraction": 0.0}, "scene_cut_fraction"),
        ({"repeat_similarity": 1.1}, "repeat_similarity"),
        ({"top_k_ratio": 0.0}, "top_k_ratio"),
        ({"top_k_minimum": 0}, "top_k_minimum"),
        ({"merge_rule": "top_k", "recurring": True}, "Set recurring=False"),
        ({"merge_rule": "top_k", "merge_repeats": True}, "Set merge_repeats=False"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        SceneMergeConfig(**values)
