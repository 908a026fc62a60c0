"""Tubes that an earlier call encoded are not encoded again: the same logits, fewer rows, bounded, never stale."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from family_cases import CLOSE, NEW, called, dense, family_pair
from noted import plans_of
from tiny import cache_name, moving_frames

import framegate
from framegate.errors import ConfigError
from framegate.models.attachment.remembering import _digests
from framegate.models.feature_store import FeatureStore
from framegate.types import FramePlan

CACHE = cache_name()
A, B = (moving_frames(8, 84, 112, seed=seed) for seed in range(2))


def small_pair(name):
    """A pair whose frames have few cells, where the size rule can be told."""
    model, processor = family_pair(name)
    if name.startswith("qwen"):
        processor.video_processor.size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 24 * 8}
    return model, processor


@pytest.fixture
def attached():
    model, processor = small_pair("qwen2_5_vl")
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        yield model, processor, front_end


class Rows:
    """Counts what reaches the first block of a tower."""

    def __init__(self, tower):
        blocks = getattr(tower, "blocks", None) or tower.encoder.layers
        self.count = 0
        blocks[0].register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, block, args, kwargs):
        states = args[0] if args else kwargs["hidden_states"]
        self.count += states.shape[:-1].numel()

    def taken(self):
        count, self.count = self.count, 0
        return count


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision"])
def test_a_second_turn_encodes_what_is_new_alone(name):
    model, processor = small_pair(name)
    rows = Rows(model.model.visual if hasattr(model.model, "visual") else model.model.vision_tower)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        first, second = called(processor, A), called(processor, A, B)
        want, fresh = model(**second).logits, (front_end.report, rows.taken())[1]
        cells = front_end.report.encoded_cells
        with front_end.remember() as store:
            model(**first)
            assert (front_end.report.encoded_cells, front_end.report.reused_cells) == (cells // 2, 0)
            rows.taken()
            got = model(**second).logits
            report, again = front_end.report, rows.taken()
            assert report.encoded_cells + report.reused_cells == cells
            assert report.encoded_cells <= 0.55 * cells
            assert again <= 0.55 * fresh
            torch.testing.assert_close(got, want, **CLOSE)
            assert "were remembered" in report.stage("tower").note
            # a third turn shows nothing new
            torch.testing.assert_close(model(**second).logits, want, **CLOSE)
            assert (front_end.report.encoded_cells, rows.taken()) == (0, 0)
            assert store.num_tubes == sum(bool(tube.any()) for plan in plans_of(second) for tube in plan.keep)
        # off again
        assert torch.equal(model(**second).logits, want)
        assert front_end.report.reused_cells == 0


@torch.no_grad()
@pytest.mark.parametrize(
    "shares", [{"keep_ratio": 0.25}, {"keep_ratio": 0.25, "tower_ratio": 1.0}, {"keep_ratio": 1.0}]
)
def test_the_default_remembers_every_level(shares):
    model, processor = small_pair("qwen3_vl")
    with framegate.attach(model, processor, **shares) as front_end:
        first, second = called(processor, A), called(processor, A, B)
        want = model(**second).logits
        cells, kept = front_end.report.encoded_cells, front_end.report.kept_tokens
        with front_end.remember():
            model(**first)
            got, report = model(**second).logits, front_end.report
        torch.testing.assert_close(got, want, **CLOSE)
        assert (report.encoded_cells, report.reused_cells) == (cells // 2, cells // 2)
        assert report.kept_tokens == kept
        assert json.loads(report.to_json())["reused_cells"] == cells // 2


@torch.no_grad()
def test_pixels_of_a_stock_processor_are_remembered_whole():
    model, processor = small_pair("llava_onevision")
    first, second = dense(processor, A), dense(processor, A, B)
    with framegate.attach(model, None, keep_ratio=0.25, tower_ratio=1.0) as front_end:
        want = model(**second).logits
        with front_end.remember():
            model(**first)
            torch.testing.assert_close(model(**second).logits, want, **CLOSE)
        report = front_end.report
        assert report.encoded_cells == report.reused_cells == report.dense_tokens // 2
        assert report.stage("tower").patches_in == len(A) * front_end._attached.mechanism.side**2


@torch.no_grad()
def test_equal_tubes_of_one_call_are_encoded_once(attached):
    model, processor, front_end = attached
    twice = called(processor, A, A)
    want = model(**twice).logits
    with front_end.remember():
        torch.testing.assert_close(model(**twice).logits, want, **CLOSE)
        assert front_end.report.encoded_cells == front_end.report.reused_cells


@torch.no_grad()
def test_another_size_pairing_or_plan_is_encoded_anew(attached):
    model, processor, front_end = attached
    with front_end.remember():
        model(**called(processor, A))
        for other in (A[:, :, :84], np.concatenate([A[:1], A[:-1]])):
            model(**called(processor, other))
            assert front_end.report.reused_cells < front_end.report.encoded_cells / 3
            assert front_end.report.encoded_cells > 0
        with front_end.override(keep_ratio=0.3):
            model(**called(processor, A))
            assert front_end.report.encoded_cells > 0


@torch.no_grad()
@pytest.mark.parametrize("change", ["step", "merge", "autocast"])
def test_a_changed_tower_forgets(attached, change):
    model, processor, front_end = attached
    weight = model.model.visual.blocks[1].mlp.down_proj.weight
    inputs = called(processor, A)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast")
    with front_end.remember():
        model(**inputs)
        if change == "step":
            weight[0, 0] += 1.0
        elif change == "merge":
            # past the version, as PEFT merges
            weight.data += 0.5
        with autocast:
            got = model(**inputs).logits
        report = front_end.report
        assert report.reused_cells == 0
        assert "remembered tubes of before were forgotten" in str(report.notes)
    with autocast:
        torch.testing.assert_close(got, model(**inputs).logits, **CLOSE)


def test_nothing_is_remembered_where_gradients_are_asked_for(attached):
    model, processor, front_end = attached
    inputs = called(processor, A)
    with front_end.remember() as store:
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        assert model.model.visual.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
        assert "gradients are asked for" in str(front_end.report.notes)
        with torch.no_grad():
            model.train()(**inputs)
            assert "training mode" in str(front_end.report.notes)
        assert store.num_tubes == front_end.report.reused_cells == 0


@torch.no_grad()
def test_context_anchored_remembers_nothing():
    model, processor = small_pair("qwen2_5_vl")
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, context="anchored") as front_end:
        with front_end.remember() as store:
            model(**called(processor, A))
        assert store.num_tubes == 0
        assert "'anchored' lets cells see other tubes" in str(front_end.report.notes)


@torch.no_grad()
def test_a_full_store_lets_the_oldest_go(attached):
    model, processor, front_end = attached
    first, second = called(processor, A), called(processor, B)
    with front_end.remember() as whole:
        want = model(**first).logits
    with front_end.remember(max_bytes=whole.num_bytes + 1) as store:
        model(**first)
        model(**second)
        assert f"{whole.num_tubes} tubes that were not used for longest went" in str(front_end.report.notes)
        assert store.num_bytes <= store.max_bytes
        torch.testing.assert_close(model(**first).logits, want, **CLOSE)
        assert front_end.report.reused_cells == 0
    with front_end.remember(whole):
        model(**first)
        assert front_end.report.encoded_cells == 0
    with front_end.remember(max_bytes=1) as tiny:
        model(**first)
        assert f"{whole.num_tubes} tubes are larger than the whole store" in str(front_end.report.notes)
        assert tiny.num_tubes == 0
    whole.forget()
    assert (whole.num_tubes, whole.num_bytes) == (0, 0)
    with pytest.raises(ConfigError, match="max_bytes is 0"), front_end.remember(max_bytes=0):
        pass


def test_generate_remembers(attached):
    model, processor, front_end = attached
    inputs = called(processor, A)
    want = model.generate(**inputs, **NEW)
    with front_end.remember():
        model.generate(**inputs, **NEW)
        assert torch.equal(model.generate(**inputs, **NEW), want)
        assert front_end.report.encoded_cells == 0


@torch.no_grad()
def test_a_video_after_a_kept_cache_and_the_same_conversation_without(attached):
    """Where the prompt only grows, the new video alone is read; where it is read anew, the old one is remembered."""
    model, processor, front_end = attached
    first, second = called(processor, A), called(processor, B)
    along = ("input_ids", "attention_mask", "mm_token_type_ids")
    whole = {name: torch.cat([first[name], second[name]], 1 if name in along else 0) for name in first}
    want = model.generate(**whole, **NEW)
    cells = front_end.report.encoded_cells
    with front_end.remember():
        cache = model(**first, use_cache=True)[CACHE]
        again = model.generate(**whole, **NEW)
        anew = front_end.report
        media = {name: value for name, value in second.items() if name not in along}
        grown = {name: whole[name] for name in ("input_ids", "attention_mask")}
        kept = model.generate(**media, **grown, **{CACHE: cache}, **NEW)
    assert torch.equal(again, want)
    assert torch.equal(kept, want)
    assert (anew.encoded_cells, anew.reused_cells) == (cells // 2, cells // 2)
    # the new video was remembered by then
    assert (front_end.report.encoded_cells, front_end.report.reused_cells) == (0, cells // 2)


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision"])
def test_a_plan_that_goes_on_costs_its_new_tubes(name):
    model, processor = small_pair(name)
    frames = np.concatenate([A, B])

    def asked(plan):
        content = [{"type": "video", "video": frames, "plan": plan}, {"type": "text", "text": "What moves?"}]
        return processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
        )

    def planned(indices, **before):
        chosen = FramePlan.from_indices(np.array(indices), np.arange(16) / 24)
        return framegate.plan_video(frames, processor=processor, plan=chosen, tower_ratio=0.5, **before)

    with framegate.attach(model, processor, tower_ratio=0.5) as front_end:
        plan = planned([0, 1, 4, 5, 8, 9, 12, 13])
        grown = planned(range(16), before=plan)
        fresh = planned(range(16))
        assert grown.num_kept == fresh.num_kept
        inputs = asked(grown)
        want = model(**inputs).logits
        with front_end.remember():
            model(**asked(plan))
            got, report = model(**inputs).logits, front_end.report
        torch.testing.assert_close(got, want, **CLOSE)
        assert report.encoded_cells + report.reused_cells == fresh.num_kept
        assert report.encoded_cells <= 0.55 * fresh.num_kept


def test_copies_and_other_threads_remember_nothing(attached):
    _, _, front_end = attached
    with front_end.remember(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: front_end._attached.store).result() is None
        assert copy.deepcopy(front_end.model)._framegate_front_end._attached.store is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_digests_tell_values_and_places_apart(dtype):
    rows = torch.randn(6, 40).to(dtype)
    one = rows.clone()
    one[3, 7] += 0.5
    tubes = [rows, one, rows.flip(0), rows.flip(1), rows[:5], rows.clone()]
    digests = _digests(tubes)
    assert digests[0] == digests[5]
    assert len(set(digests)) == 5
    assert _digests([rows.view(1, 2, 3, 40)]) == digests[:1]


def test_a_store_holds_copies_once():
    store, features = FeatureStore(1000), torch.ones(10, 4)
    store.follow(b"now")
    assert store.put(b"a", (features[:5],), made_by=b"before") == store.num_tubes == 0
    store.put(b"a", (features[:5],), made_by=b"now")
    store.put(b"a", (features[:5],), made_by=b"now")
    store.put(b"b", (torch.ones(1000),), made_by=b"now")
    assert (store.num_tubes, store.num_bytes) == (1, 80)
    features.zero_()
    (held,) = store.take(b"a", made_by=b"now")
    assert held.sum() == 20
    assert held.untyped_storage().nbytes() == 80


def test_a_store_gives_nothing_that_another_tower_made():
    # as where two threads with a model each share one
    store = FeatureStore(1 << 10)
    store.follow(b"one")
    store.follow(b"other")
    store.put(b"a", (torch.zeros(2, 2),), made_by=b"other")
    assert store.take(b"a", made_by=b"one") is None
    assert store.take(b"a", made_by=b"other") is not None
