"""pool_condense as a Triton kernel, against its reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_as_good

from framegate.errors import BackendError
from framegate.kernels.dispatch import recording
from framegate.kernels.pool_condense import area_segments, pool, pool_areas, pool_condense
from framegate.kernels.pool_condense.reference import MOST_CELLS, areas_of, grid_of
from framegate.kernels.segment_merge.reference import shares_of

# groups, rows and columns of the grid, width, share of the cells that have a row
SHAPES = [(1, 1, 1, 1, 1.0), (2, 3, 5, 65, 1.0), (3, 7, 4, 12, 0.4), (2, 9, 9, 130, 0.8), (1, 1, 40, 3, 1.0)]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # for properties, which take no fixtures


def case(groups, rows, columns, width, share, dtype, device):
    """Rows in no order at some cells of the grid, areas differ from group to group; where rows stand is on the CPU."""
    cells = torch.randperm(groups * rows * columns)[: max(1, round(share * groups * rows * columns))]
    place = torch.stack(
        [cells // (rows * columns), cells // columns % rows, cells % columns], dim=1
    )  # [N, 3]
    area = torch.randint(1, 6, (groups, 2))[place[:, 0]]
    size = torch.randint(1, 9, (len(place),))
    return torch.randn(len(place), width, dtype=torch.float64).to(dtype).to(device), size, place, area


def line(count):
    """Places of rows that stand side by side."""
    return torch.stack([torch.zeros(count).long(), torch.zeros(count).long(), torch.arange(count)], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_is_as_good_as_the_reference(shape, dtype, device):
    features, size, place, area = case(*shape, dtype, device)
    with recording() as ran:
        found, total, segment = pool_condense(features, size, place, area, backend="triton")
    assert dict(ran) == {("pool_condense", "triton"): 1}
    with recording() as ran:
        reference, wanted, same = pool_condense(features, size, place, area, backend="torch")
    assert ran["pool_condense", "torch"] == 1
    assert_as_good(found, reference, pool_condense(features.double(), size, place, area, backend="torch")[0])
    assert torch.equal(total, wanted)
    assert torch.equal(segment, same)


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 1), st.integers(0, 2**31))
def test_any_numbering_and_any_parts_of_areas(groups, rows, columns, share, seed):
    torch.manual_seed(seed)
    features, size, place, area = case(groups, rows, columns, 2, share, torch.float64, DEVICE)
    part = 3 * area_segments(place, area) + torch.randint(0, 3, (len(place),))
    part = torch.unique(part, return_inverse=True)[1]
    count = int(part.max()) + 1
    segment = (torch.randperm(count)[part] - 2).clamp(min=-1)  # two of them are left out
    count = max(count - 2, 0)
    found, total = pool_areas(features, size, place, area, segment, count, backend="triton")
    reference, wanted = pool_areas(features, size, place, area, segment, count, backend="torch")
    torch.testing.assert_close(found, reference)
    assert torch.equal(total, wanted)


def test_areas_of_one_cell_and_rows_alone_keep_their_bits(device):
    features, size, place, _ = case(2, 4, 5, 33, 0.5, torch.bfloat16, device)
    for area in (torch.ones(len(place), 2).long(), torch.tensor([[1, 7]]).expand(len(place), 2)):
        found, total, segment = pool_condense(features, size, place, area, backend="triton")
        alone = torch.bincount(segment)[segment] == 1
        assert bool(alone.any())
        assert torch.equal(found[segment[alone]], features[alone])
        assert torch.equal(total.cpu()[segment[alone]], size[alone])


def test_areas_larger_than_the_grid_are_cut_to_it(device):
    features, size, place, _ = case(2, 3, 4, 5, 0.7, torch.float32, device)
    area = torch.full((len(place), 2), 1 << 40)
    found, _, _ = pool_condense(features, size, place, area, backend="triton")
    torch.testing.assert_close(found, pool_condense(features, size, place, area, backend="torch")[0])


def test_what_is_left_out_is_never_read(device):
    features = torch.randn(4, 5, device=device)
    features[1] = torch.nan
    segment, area = torch.tensor([0, -1, 0, 1]), torch.tensor([[1, 3]]).expand(4, 2)
    found, _ = pool_areas(features, torch.ones(4).long(), line(4), area, segment, 2, backend="triton")
    torch.testing.assert_close(found, torch.stack([features[[0, 2]].mean(0), features[3]]))


def test_no_rows(device):
    none = torch.zeros(0, dtype=torch.long)
    merged, total, segment = pool_condense(
        torch.zeros(0, 4, device=device), none, none.reshape(0, 3), none.reshape(0, 2), backend="triton"
    )
    assert merged.shape == (0, 4)
    assert len(total) == len(segment) == 0


def test_strided_features_are_taken(device):
    _, size, place, area = case(1, 3, 4, 1, 1.0, torch.float32, device)
    features = torch.randn(12, 18, device=device)[:, ::2]
    found, _, _ = pool_condense(features, size, place, area, backend="triton")
    torch.testing.assert_close(found, pool_condense(features, size, place, area, backend="torch")[0])


def test_rows_that_share_a_place_are_left_to_the_reference(device):
    features, size, place = torch.randn(3, 2, device=device), torch.ones(3).long(), line(3)[[0, 1, 1]]
    area = torch.full((3, 2), 2)
    with pytest.raises(BackendError, match="pool_condense cannot run.*two rows stand at one place"):
        pool_condense(features, size, place, area, backend="triton")
    with recording() as ran:
        merged, _, _ = pool_condense(features, size, place, area)
    reason = "" if device == "cpu" else " (two rows stand at one place, where only one can be looked up)"
    assert ran["pool_condense", f"torch{reason}"] == 1
    torch.testing.assert_close(merged, features.mean(0, keepdim=True))


def test_a_grid_too_large_to_look_up_is_left_to_the_reference(device):
    place = torch.tensor([[0, 0, 0], [0, MOST_CELLS, 0]])
    features, size, area = torch.randn(2, 2, device=device), torch.ones(2).long(), torch.full((2, 2), 2)
    with pytest.raises(BackendError, match="the grid has more than 16777216 cells"):
        pool_condense(features, size, place, area, backend="triton")
    assert torch.equal(pool_condense(features, size, place, area)[0], features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_gradients_are_those_of_the_reference(dtype, device):
    features, size, place, area = case(2, 4, 4, 9, 0.7, dtype, device)
    segment = area_segments(place, area) - 1  # the first area is left out
    count = int(segment.max()) + 1
    weight = torch.randn(count, 9, dtype=torch.float64).to(device)
    grads = {}
    for name, given_features, backend in (
        ("kernel", features, "triton"),
        ("reference", features, "torch"),
        ("exact", features.double(), "torch"),
    ):
        leaf = given_features.clone().requires_grad_()
        merged, _ = pool_areas(leaf, size, place, area, segment, count, backend=backend)
        (merged.double() * weight).sum().backward()
        grads[name] = leaf.grad
    assert_as_good(grads["kernel"], grads["reference"], grads["exact"])
    assert bool((grads["kernel"][(segment < 0).to(device)] == 0).all())


def test_gradcheck(device):
    features, size, place, area = case(2, 2, 3, 3, 0.8, torch.float64, device)
    features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: pool_condense(x, size, place, area, backend="triton")[0], features
    )


def ready(features, size, place, area):
    """Arguments of the registered op, but for the grid's shape and the backend."""
    segment = area_segments(place, area)
    count = int(segment.max()) + 1
    share, _ = shares_of(size.to(features.device), segment.to(features.device), count, features.dtype)
    return features, share, segment.to(features.device), place, areas_of(place, area, segment, count)[0]


def test_registered_op_is_sound(device):
    features, size, place, area = case(2, 3, 3, 5, 0.7, torch.float32, device)
    arguments = ready(features.requires_grad_(), size, place, area)
    torch.library.opcheck(pool, (*arguments, grid_of(place)[0], "triton"))


def compiled_pool(size, place, area, segment, backend):
    count = int(segment.max()) + 1

    def pooled(x):
        return pool_areas(x * 2, size, place, area, segment, count, backend=backend)[0] + 1

    return pooled, torch.compile(pooled, backend="aot_eager", fullgraph=True)


def test_compile_keeps_one_graph(device):
    features, size, place, area = case(2, 3, 3, 5, 0.7, torch.float32, device)
    pooled, compiled = compiled_pool(size, place, area, area_segments(place, area), "triton")
    features.requires_grad_()
    with recording() as ran:
        found = compiled(features)
    assert {path for _, path in ran} == {"triton"}
    torch.testing.assert_close(found, pooled(features))
    (grad,), (wanted,) = (torch.autograd.grad(x.sum(), features) for x in (found, pooled(features)))
    torch.testing.assert_close(grad, wanted)


def test_a_compiled_graph_sees_places_when_it_runs(device):
    features, size, place = torch.randn(3, 2, device=device), torch.ones(3).long(), line(3)[[0, 1, 1]]
    area = torch.full((3, 2), 2)
    _, compiled = compiled_pool(size, place, area, area_segments(place, area), "triton")
    with pytest.raises(BackendError, match="two rows stand at one place"):
        compiled(features)
    merged = pool(*ready(features, size, place, area), [], "auto")
    torch.testing.assert_close(merged, features.mean(0, keepdim=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": line(4) - 1}, "place must be 0 or more and area 1 or more, got -1 and 2"),
        ({"area": torch.zeros(4, 2).long()}, "got 0 and 0"),
        ({"size": torch.tensor([1, 1, 0, 1])}, "size must be at least 1, got 0"),
        ({"segment": torch.tensor([0, 0, 1, 2])}, r"segment must lie in \[-1, 2\), got 0 to 2"),
        ({"segment": torch.tensor([0, 0, 0, 1])}, "Segment 0 of 2 has rows in several areas"),
        ({"segment": torch.tensor([0, 0, -1, -1])}, "Segment 1 of 2 has no row"),
        (
            {"area": torch.tensor([[2, 2], [3, 3], [2, 2], [2, 2]])},
            "Segment 0 of 2 has rows in several areas",
        ),
        ({"place": line(3)}, r"must be \[N, D\].*\(3, 3\)"),
        ({"place": line(4).to("meta")}, "must share a device, got meta, cpu and cpu"),
    ],
)
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_what_cannot_be_pooled_is_refused(change, message, backend, device):
    arguments = {
        "size": torch.ones(4).long(),
        "place": line(4),
        "area": torch.full((4, 2), 2),
        "segment": torch.tensor([0, 0, 1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        pool_areas(torch.ones(4, 3, device=device), **arguments | change, num_segments=2, backend=backend)


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_full_size(dtype, where):
    features, *rows = case(32, 24, 24, 3584, 0.4, dtype, "cuda")
    rows = [x.to(where) for x in rows]
    found, total, _ = pool_condense(features, *rows, backend="triton")
    reference, wanted, _ = pool_condense(features, *rows, backend="torch")
    assert_as_good(found, reference, pool_condense(features.double(), *rows, backend="torch")[0])
    assert torch.equal(total, wanted)
    assert torch.equal(found, pool_condense(features, *rows, backend="triton")[0])
