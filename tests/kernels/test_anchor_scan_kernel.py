"""anchor_scan as a Triton kernel, against its reference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from moving import jumping_clip

from framegate.errors import BackendError
from framegate.kernels.anchor_scan import anchor_scan, most_changed, scan
from framegate.kernels.block_residual import block_residual
from framegate.kernels.dispatch import recording


def usual_threshold(frames, cell_px, metric):
    """Two thirds of the cells differ by less from the step before."""
    return block_residual(frames[1:], frames[:-1], cell_px, metric, backend="torch").quantile(0.66).item()


def clip(steps, planes, rows, columns, device, cell_px=8):
    return torch.from_numpy(jumping_clip(0, steps, planes, rows, columns, cell_px)).to(device)


def both(frames, cell_px, threshold, **rules):
    with recording() as ran:
        found = anchor_scan(frames, cell_px, threshold, backend="triton", **rules)
    assert dict(ran) == {("anchor_scan", "triton"): 1}
    return found, anchor_scan(frames, cell_px, threshold, backend="torch", **rules)


RULES = (
    ({}, 2),
    ({"max_age": 3}, 1),
    ({"keyframe_fraction": 0.4}, 1),
    ({"max_age": 2, "keyframe_fraction": 0.3}, 2),
)
# the interpreter takes seconds for each: all rules together with every metric, and each rule with one
PAIRS = [
    pytest.param(metric, *one, marks=() if metric == "mad" or one is RULES[-1] else pytest.mark.slow)
    for metric in ("mad", "ssim", "l2")
    for one in RULES
]


@pytest.mark.parametrize(("metric", "rules", "planes"), PAIRS)
def test_kernel_is_the_reference(metric, rules, planes, device):
    frames = clip(8, planes, 3, 4, device)
    threshold = usual_threshold(frames, 8, metric)
    (keep, residual), (wanted, reference) = both(frames, 8, threshold, metric=metric, **rules)
    assert torch.equal(keep, wanted)
    exact = metric == "mad"
    torch.testing.assert_close(residual, reference, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-6)
    assert 0 < keep[1:].float().mean() < 1
    if "keyframe_fraction" in rules:
        plain = anchor_scan(frames, 8, threshold, metric=metric, max_age=rules.get("max_age"))[0]
        assert not torch.equal(keep, plain), "the rule must have made a difference"


@pytest.mark.parametrize("cell_px", [1, 5, 28])
def test_odd_cells(cell_px, device):
    frames = clip(5, 2, 2, 3, device, cell_px)
    (keep, residual), (wanted, reference) = both(frames, cell_px, 5.0)
    assert torch.equal(keep, wanted)
    assert torch.equal(residual, reference)


def test_many_thresholds_are_many_scans(device):
    frames = clip(6, 1, 2, 3, device)
    thresholds = torch.tensor([1.0, 4.0, 12.0], device=device)
    rules = {"keyframe_fraction": 0.5}
    (keep, residual), _ = both(frames, 8, thresholds, **rules)
    assert keep.shape == residual.shape == (3, 6, 2, 3)
    for number, threshold in enumerate(thresholds.tolist()):
        alone = anchor_scan(frames, 8, threshold, backend="torch", **rules)
        assert torch.equal(keep[number], alone[0])
        assert torch.equal(residual[number], alone[1])


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_cell_at_the_threshold_is_skipped(backend, device):
    frames = (
        torch.tensor([0, 5, 6, 6], dtype=torch.uint8, device=device).reshape(4, 1, 1, 1).expand(4, 1, 4, 8)
    )
    keep, _ = anchor_scan(frames, 4, 5.0, backend=backend)
    assert keep[:, 0].tolist() == [[True, True], [False, False], [True, True], [False, False]]


def test_strided_thresholds_are_taken(device):
    frames, thresholds = clip(4, 1, 2, 2, device), torch.tensor([1.0, 9.0, 4.0, 9.0], device=device)
    found = anchor_scan(frames, 8, thresholds[::2], backend="triton")[0]
    assert torch.equal(found, anchor_scan(frames, 8, thresholds[::2], backend="torch")[0])


def test_one_step_is_kept_whole(device):
    (keep, residual), _ = both(clip(1, 2, 1, 2, device), 8, 5.0, keyframe_fraction=0.5)
    assert bool(keep.all())
    assert bool((residual == 0).all())


@given(st.integers(1, 60), st.floats(0, 1))
def test_most_changed_is_the_rule_on_counts(cells, fraction):
    most = most_changed(fraction, cells)
    assert [count > most for count in range(cells + 1)] == [
        count / cells > fraction for count in range(cells + 1)
    ]


def test_what_cannot_be_scanned_is_named(device):
    with pytest.raises(BackendError, match="a cell has 40000 values, and the kernel holds 32768"):
        anchor_scan(torch.zeros(2, 1, 200, 200, dtype=torch.uint8, device=device), 200, 5.0, backend="triton")
    with pytest.raises(ValueError, match="T of 1 or more"):
        anchor_scan(torch.zeros(0, 1, 8, 8), 8, 5.0)
    with pytest.raises(ValueError, match="a number or"):
        anchor_scan(torch.zeros(1, 1, 8, 8), 8, torch.zeros(1, 1))


def test_registered_op_is_sound(device):
    torch.library.opcheck(
        scan, (clip(3, 1, 2, 2, device, 4), torch.tensor([5.0], device=device), 4, "mad", 9, 4)
    )


def test_compile_keeps_one_graph(device):
    frames = clip(4, 1, 1, 2, device)
    compiled = torch.compile(
        lambda x: anchor_scan(x, 8, 5.0, backend="triton")[0].long() + 1, backend="aot_eager", fullgraph=True
    )
    assert torch.equal(compiled(frames), anchor_scan(frames, 8, 5.0, backend="torch")[0].long() + 1)


@pytest.mark.gpu
@pytest.mark.parametrize("rules", [{}, {"max_age": 8, "keyframe_fraction": 0.6}])
def test_full_size(rules):
    frames = clip(32, 2, 16, 16, "cuda", 28)
    (keep, residual), (wanted, reference) = both(frames, 28, 5.0, **rules)
    assert torch.equal(keep, wanted)
    assert torch.equal(residual, reference)
