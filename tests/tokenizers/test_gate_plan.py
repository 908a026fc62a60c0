"""The plan itself: packed and unpacked to the last bit, batches joined, damage named, tubes of a stream joined."""

import json
from dataclasses import replace

import numpy as np
import pytest
from moving import as_rgb, busy_clip, panned_clip

from framegate.configs.loader import load_config
from framegate.errors import FramegateError, PlanError
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.packing import PACKED_VERSION, Account, fingerprint_of, unpack_plans
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import plan_frames_array

CELL = 28
ACCOUNT = Account(
    preset="gate",
    fingerprint="0123456789ab",
    source="clip.mp4",
    video_seconds=1.1,
    num_frames=12,
    stream_ms=0.1,
    gate_ms=0.2,
    patches_ms=0.3,
)


def still_plan(seed=0, frames=7, **overrides):
    clip = busy_clip(seed, frames, 2 * CELL, 3 * CELL)
    times = np.cumsum(np.random.default_rng(seed).random(frames))
    config = load_config("gate", **{"motion": "none", "keep_ratio": 0.4} | overrides).plan
    return plan_frames_array(as_rgb(clip), times, config=config, cell_px=CELL, tube_frames=2)


def moving_plan():
    clip = panned_clip([(3 * step, step) for step in range(12)], 4 * CELL, 6 * CELL)
    plan = plan_frames_array(as_rgb(clip), config=load_config("gate").plan, cell_px=CELL, tube_frames=1)
    assert plan.moved.any()
    return plan


PLANS = {
    "still": still_plan,
    "moving": moving_plan,
    "less than a tube": lambda: still_plan(keep_ratio=0.1),
}


def assert_same(plan, other):
    for name in (
        "keep",
        "residual",
        "anchor",
        "motion_px",
        "keyframes",
        "timestamps_seconds",
    ):
        one, two = getattr(plan, name), getattr(other, name)
        assert one.dtype == two.dtype, name
        assert one.tobytes() == two.tobytes(), name
    assert (plan.grid, plan.notes, plan.dense_cells) == (other.grid, other.notes, other.dense_cells)
    assert (plan.num_kept, plan.num_cells) == (other.num_kept, other.num_cells)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_comes_back_to_the_last_bit(name):
    plan = PLANS[name]()
    packed = plan.pack(ACCOUNT)
    assert packed.framegate_plan.dtype == np.int32
    assert packed.framegate_plan.shape == (plan.keep.size, 6)
    assert packed.framegate_notes.dtype == np.uint8
    (back,), (account,) = unpack_plans(*packed)
    assert_same(plan, back)
    assert account == ACCOUNT


def test_columns_are_what_other_readers_take_them_for():
    plan = moving_plan()
    cells = plan.pack().framegate_plan
    np.testing.assert_array_equal(cells[:, 0], plan.anchor.ravel())
    np.testing.assert_array_equal(cells[:, 1], plan.keep.ravel())
    np.testing.assert_array_equal(cells[:, 2].copy().view(np.float32), plan.residual.ravel())
    np.testing.assert_array_equal(cells[:, 3:5].copy().view(np.float32), plan.motion_px.reshape(-1, 2))
    times = (plan.timestamps_seconds * 1000).round().astype(int)
    np.testing.assert_array_equal(cells[:, 5], times.repeat(plan.grid.num_cells))


def test_batches_are_joined_along_the_first_axis():
    plans = [PLANS[name]() for name in PLANS]
    plans.append(replace(plans[0], dense_cells=400, notes=("first", "second line\nof a note")))
    packed = [plan.pack(replace(ACCOUNT, num_frames=number)) for number, plan in enumerate(plans)]
    cells, notes = (np.concatenate(parts) for parts in zip(*packed, strict=True))
    back, accounts = unpack_plans(cells, notes)
    for plan, other in zip(plans, back, strict=True):
        assert_same(plan, other)
    assert [account.num_frames for account in accounts] == list(range(len(plans)))


def rewritten(notes, **changes):
    line = json.loads(notes.tobytes()) | changes
    return np.frombuffer(json.dumps(line).encode() + b"\n", np.uint8)


def test_a_future_version_is_refused():
    cells, notes = still_plan().pack()
    with pytest.raises(PlanError, match=rf"version {PACKED_VERSION + 1}; this framegate reads 1 to"):
        unpack_plans(cells, rewritten(notes, version=PACKED_VERSION + 1))


@pytest.mark.parametrize(
    "damage", [lambda n: n[:-1], lambda n: n[: len(n) // 2], lambda n: n[9:], lambda n: n[:0]]
)
def test_cut_notes_are_refused(damage):
    cells, notes = still_plan().pack()
    with pytest.raises(PlanError, match="was cut"):
        unpack_plans(cells, damage(notes))


@pytest.mark.parametrize("line", [b"3\n", b"{}\n", b'{"version": "1"}\n', b'{"version": 1}\n'])
def test_notes_of_somebody_else_are_refused(line):
    with pytest.raises(PlanError, match="not framegate's"):
        unpack_plans(still_plan().pack()[0], np.frombuffer(line, np.uint8))


def test_a_wrong_number_of_cells_is_named():
    cells, notes = still_plan().pack()
    with pytest.raises(PlanError, match=r"has 23 cells; framegate_notes tells of 1 videos with 24"):
        unpack_plans(cells[1:], notes)
    with pytest.raises(PlanError, match=r"tells of 2 videos with 24 \+ 24 = 48"):
        unpack_plans(cells, np.concatenate([notes, notes]))
    for wrong in (cells[:, :5], cells.astype(np.float32), cells.reshape(-1)):
        with pytest.raises(PlanError, match=r"must be int32 \[cells, 6\]"):
            unpack_plans(wrong, notes)


@pytest.mark.parametrize(("place", "anchor"), [(-1, 4), (0, -2), (0, 1)])
def test_anchors_that_no_gate_gives_are_refused(place, anchor):
    cells, notes = still_plan().pack()
    cells[place, 0] = anchor
    with pytest.raises(PlanError, match=rf"video 0: anchors \[{anchor}\] lie outside"):
        unpack_plans(cells, notes)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (2, r"video 0: tokens stand for areas of several cells, which are gone \(gate.scales\)"),
        (3, r"column 1 is \[0, 1, 3\]; it is 1 for cells that are encoded, else 0"),
        (0, "not those that are their own anchor"),
    ],
)
def test_cells_that_no_gate_gives_are_refused(mark, message):
    cells, notes = still_plan().pack()
    assert cells[3, 1] == 1
    cells[3, 1] = mark
    with pytest.raises(PlanError, match=message):
        unpack_plans(cells, notes)


def test_a_plan_that_travelled_has_no_frames_to_show():
    (plan,), _ = unpack_plans(*still_plan().pack())
    for show in (plan.source_frames, plan.reconstruct):
        with pytest.raises(PlanError, match="travelled without its video"):
            show()
    assert issubclass(PlanError, FramegateError)
    assert issubclass(PlanError, ValueError)


def test_fingerprints_tell_configurations_apart_and_not_their_names():
    config = load_config("gate", keep_ratio=0.25).plan
    assert len(fingerprint_of(config)) == 12
    assert fingerprint_of(config) == fingerprint_of(replace(config, preset="mine"))
    others = [load_config("gate", keep_ratio=0.5), load_config("gate", keep_ratio=0.25, threshold=3.0)]
    assert len({fingerprint_of(config), *(fingerprint_of(other.plan) for other in others)}) == 3


def stream(clip, **overrides):
    grid = CellGrid.of(*clip.shape[1:], cell_px=CELL, tube_frames=1)
    rules = GateRules.of(load_config("gate", motion="none", **overrides).gate)
    scan = GateScan(grid, rules)
    return [
        replace(scan.step(frame[None]), timestamps_seconds=np.array([0.5 * t]))
        for t, frame in enumerate(clip)
    ]


def test_tubes_of_a_stream_joined_from_its_beginning_are_the_plan():
    clip = busy_clip(4, 9, 2 * CELL, 3 * CELL)
    run = GatePlan.concatenate(stream(clip))
    config = load_config("gate", motion="none").plan
    plan = plan_frames_array(as_rgb(clip), 0.5 * np.arange(9), config=config, cell_px=CELL, tube_frames=1)
    assert_same(plan, run)


def test_a_run_from_the_middle_of_a_stream_stands_alone():
    tubes = stream(busy_clip(4, 9, 2 * CELL, 3 * CELL, cut=False))[4:]
    assert not tubes[0].keep.all()
    run = GatePlan.concatenate(tubes)
    assert run.keep[0].all()
    assert run.anchor.min() == 0
    assert run.timestamps_seconds.tolist() == [2.0, 2.5, 3.0, 3.5, 4.0]
    np.testing.assert_array_equal(run.keep[1:], np.concatenate([tube.keep for tube in tubes[1:]]))
    assert "of the run's first tube are encoded" in run.notes[-1]


def test_what_cannot_be_joined_is_named():
    tubes = stream(busy_clip(4, 3, 2 * CELL, 3 * CELL))
    other = stream(busy_clip(4, 1, CELL, 3 * CELL))
    with pytest.raises(PlanError, match="at least one plan"):
        GatePlan.concatenate([])
    with pytest.raises(PlanError, match="2 grids"):
        GatePlan.concatenate([*tubes, *other])
    with pytest.raises(PlanError, match="before they are packed"):
        GatePlan.concatenate([tubes[0], *unpack_plans(*tubes[1].pack())[0]])
