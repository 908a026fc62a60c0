"""anchored_attention: one segment against torch's own attention, the kernel against the reference, gradients."""

import pytest
import torch
import torch.nn.functional as F
from tolerances import assert_as_good

from framegate.errors import BackendError
from framegate.kernels.anchored_attention import anchored_attention, attend, tiles_of
from framegate.kernels.anchored_attention.reference import rotate_half
from framegate.kernels.dispatch import recording

LENGTHS = [[5], [1, 1, 1], [0, 33, 0, 2], [64, 65, 3]]


def boundaries(lengths, device="cpu"):
    return F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).int().to(device)


def case(lengths, width, dtype, device, *, gathered, turned, heads=2):
    """Queries of the given lengths; twice as many keys and a few more in every segment where they are gathered."""
    count = sum(lengths)
    q, k, v = (torch.randn(count, heads, width, dtype=torch.float64).to(dtype).to(device) for _ in range(3))
    keys = [2 * n + 3 for n in lengths] if gathered else lengths
    options = {}
    if gathered:
        options["rows"] = torch.randint(0, count, (sum(keys),), device=device)
    if turned:
        angle = torch.randn(sum(keys), width // 2).repeat(1, 2).to(device)
        options["turn"] = (angle.cos(), angle.sin())
    return (q, k, v, boundaries(lengths, device), boundaries(keys, device)), options


def test_one_segment_is_torchs_attention():
    (q, k, v, cu, _), _ = case([7], 8, torch.float32, "cpu", gathered=False, turned=False)
    found = anchored_attention(q, k, v, cu, cu)
    batch = (part.transpose(0, 1)[None] for part in (q, k, v))  # [N, h, d] -> [1, h, N, d]
    assert torch.equal(found, F.scaled_dot_product_attention(*batch)[0].transpose(0, 1))


def test_a_turned_key_is_the_key_of_another_place():
    """Rotary keys of place p, turned by s, are those of place p + s."""
    frequency = torch.tensor([1.0, 0.1, 0.01])

    def rotated(x, place):
        angle = (place * frequency).repeat(2)
        return x * angle.cos() + rotate_half(x) * angle.sin()

    raw, q, v = torch.randn(3, 1, 1, 6).unbind()
    angle = (2.0 * frequency).repeat(2)[None]
    cu = boundaries([1])
    both = torch.cat([v, -v])
    cu_k, rows = boundaries([2]), torch.tensor([0, 1])
    turn = tuple(torch.cat([f(angle), f(0 * angle)]) for f in (torch.cos, torch.sin))
    found = anchored_attention(q, torch.cat([rotated(raw, 3.0)] * 2), both, cu, cu_k, rows=rows, turn=turn)
    wanted = anchored_attention(
        q, torch.cat([rotated(raw, 5.0), rotated(raw, 3.0)]), both, cu, cu_k, rows=rows
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("gathered", "turned"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("width", "dtype"), [(8, torch.float32), (20, torch.float16), (80, torch.bfloat16)])
def test_kernel_is_as_good_as_the_reference(lengths, width, dtype, gathered, turned, device):
    arguments, options = case(lengths, width, dtype, device, gathered=gathered, turned=turned)
    with recording() as ran:
        found = anchored_attention(*arguments, **options, backend="triton")
    assert dict(ran) == {("anchored_attention", "triton"): 1}
    reference = anchored_attention(*arguments, **options, backend="torch")
    exact = anchored_attention(
        *(x.double() for x in arguments[:3]), *arguments[3:], **options, backend="torch"
    )
    assert_as_good(found, reference, exact)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_segment_without_keys_sees_nothing(backend, device):
    (q, k, v, cu, _), _ = case([2, 3], 8, torch.float32, device, gathered=False, turned=False)
    cu_k = torch.tensor([0, 0, 3], dtype=torch.int32, device=device)
    found = anchored_attention(q, k, v, cu, cu_k, backend=backend)
    assert bool((found[:2] == 0).all())
    alone = boundaries([3], device)
    wanted = anchored_attention(q[2:], k[:3], v[:3], alone, alone, backend="torch")
    torch.testing.assert_close(found[2:], wanted)


def test_no_queries(device):
    (q, k, v, cu, cu_k), options = case([0], 8, torch.float32, device, gathered=False, turned=False)
    assert anchored_attention(q, k, v, cu, cu_k, **options, backend="triton").shape == (0, 2, 8)


def test_the_towers_strides_are_taken(device):
    qkv = torch.randn(11, 3, 2, 16, device=device)
    q, k, v = qkv.unbind(1)
    cu = boundaries([4, 7], device)
    found = anchored_attention(q, k, v, cu, cu, backend="triton")
    torch.testing.assert_close(found, anchored_attention(q, k, v, cu, cu, backend="torch"))
    # keys turned by rotary positions are dense again, values are not
    found = anchored_attention(q.contiguous(), k.contiguous(), v, cu, cu, backend="triton")
    torch.testing.assert_close(found, anchored_attention(q, k, v, cu, cu, backend="torch"))


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_strided_indices_are_taken(kind, device):
    arguments, options = case([3, 4], 8, torch.float32, device, gathered=True, turned=False)
    wanted = anchored_attention(*arguments, **options, backend="torch")
    q, k, v, *cu = arguments
    cu = [torch.stack([x, -x], 1)[:, 0] for x in cu]
    rows = torch.stack([options["rows"].to(kind), -options["rows"].to(kind)], 1)[:, 0]
    assert not rows.is_contiguous()
    torch.testing.assert_close(anchored_attention(q, k, v, *cu, rows=rows, backend="triton"), wanted)


@pytest.mark.parametrize(("frozen", "kernels"), [(True, 2), (False, 1)])
def test_auto_trains_on_the_reference(frozen, kernels, device, monkeypatch):
    """The kernel's way back is a loop, torch's own attention has a better one; a frozen tower takes the kernel."""
    monkeypatch.setattr("framegate.kernels.dispatch.why_no_kernels", lambda device, **_: None)
    (q, k, v, cu, cu_k), _ = case([3], 4, torch.float32, device, gathered=False, turned=False)
    with recording() as ran:
        anchored_attention(q.requires_grad_(not frozen), k, v, cu, cu_k)
        with torch.no_grad():
            anchored_attention(q, k, v, cu, cu_k)
    assert ran["anchored_attention", "triton"] == kernels
    assert ran.total() == 2


def test_dropout_takes_the_reference(device):
    (q, k, v, cu, cu_k), _ = case([6], 4, torch.float32, device, gathered=False, turned=False)
    dropped = anchored_attention(q, k, v, cu, cu_k, dropout=0.5)
    assert not torch.allclose(dropped, anchored_attention(q, k, v, cu, cu_k))
    with pytest.raises(BackendError, match=r"dropout is 0\.5"):
        anchored_attention(q, k, v, cu, cu_k, dropout=0.5, backend="triton")


def test_large_scores_do_not_overflow(device):
    (q, k, v, cu, cu_k), _ = case([40], 16, torch.float32, device, gathered=False, turned=False)
    found = anchored_attention(q * 300, k, v, cu, cu_k, backend="triton")
    torch.testing.assert_close(found, anchored_attention(q * 300, k, v, cu, cu_k, backend="torch"))


@pytest.mark.parametrize("lengths", [*LENGTHS, [0], [0, 0, 128]])
def test_tiles_cover_every_query_once(lengths):
    segment, start = tiles_of(boundaries(lengths), sum(lengths), 32)
    cu, found = boundaries(lengths).tolist(), []
    for number, first in zip(segment.tolist(), start.tolist(), strict=True):
        if number < len(lengths):
            found += range(first, min(first + 32, cu[number + 1]))
    assert found == list(range(sum(lengths)))


@pytest.mark.parametrize(("gathered", "turned"), [(False, False), (True, False), (True, True)])
def test_gradients_are_those_of_the_reference(gathered, turned, device):
    arguments, options = case([3, 0, 4], 6, torch.float32, device, gathered=gathered, turned=turned)
    weight, grads = torch.randn(7, 2, 6, device=device), {}
    for name, dtype, backend in (
        ("kernel", torch.float32, "triton"),
        ("reference", torch.float32, "torch"),
        ("exact", torch.float64, "torch"),
    ):
        leaves = [x.to(dtype).clone().requires_grad_() for x in arguments[:3]]
        out = anchored_attention(*leaves, *arguments[3:], **options, backend=backend)
        grads[name] = torch.autograd.grad((out * weight).sum(), leaves)
    for found, reference, exact in zip(grads["kernel"], grads["reference"], grads["exact"], strict=True):
        assert_as_good(found, reference, exact)


def test_gradcheck_of_the_reference():
    arguments, options = case([2, 3], 4, torch.float64, "cpu", gathered=True, turned=True)
    options["turn"] = tuple(part.double() for part in options["turn"])
    leaves = [x.requires_grad_() for x in arguments[:3]]
    assert torch.autograd.gradcheck(lambda *x: anchored_attention(*x, *arguments[3:], **options), leaves)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.zeros(2, 2, 3, dtype=torch.float64)}, "queries are torch.float64"),
        ({"width": 160}, "heads are 160 wide, the kernel takes 128"),
    ],
)
def test_what_the_kernel_cannot_take_is_named(change, message, device):
    q = change.get("query", torch.zeros(2, 2, change.get("width", 3))).to(device)
    with pytest.raises(BackendError, match=message):
        anchored_attention(q, q, q, boundaries([2], device), boundaries([2], device), backend="triton")


def test_turns_and_types_that_do_not_fit_are_named(device):
    (q, k, v, cu, cu_k), options = case([3], 4, torch.float32, device, gathered=True, turned=True)
    cos, sin = options["turn"]
    with pytest.raises(ValueError, match=r"turn is \(8, 4\) and \(9, 4\); it must be \(9, 4\)"):
        anchored_attention(q, k, v, cu, cu_k, rows=options["rows"], turn=(cos[:-1], sin))
    with pytest.raises(ValueError, match="make them one"):
        anchored_attention(q, k.half(), v, cu, cu_k, rows=options["rows"])


@pytest.mark.parametrize(
    ("shape", "cu", "message"), [((2, 3), [0, 2], "must be"), ((2, 1, 3), [[0, 2]], r"\[S \+ 1\]")]
)
def test_wrong_shapes_are_named(shape, cu, message):
    q, cu = torch.zeros(shape), torch.tensor(cu)
    with pytest.raises(ValueError, match=message):
        anchored_attention(q, q, q, cu, cu)


def test_registered_op_is_sound(device):
    (q, k, v, cu, cu_k), options = case([2, 1], 4, torch.float32, device, gathered=True, turned=True)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    tiles = tiles_of(cu, 3, 32)
    torch.library.opcheck(attend, (*leaves, cu, cu_k, options["rows"], *options["turn"], *tiles, 0.5))


def test_tiles_are_cut_once_for_each_segmentation(device):
    (q, k, v, cu, _), _ = case([3, 5], 8, torch.float32, device, gathered=False, turned=False)
    whole, tiles = boundaries([8], device), {}
    for _ in range(2):
        for ends in (cu, whole):
            found = anchored_attention(q, k, v, ends, ends, tiles=tiles, backend="triton")
            torch.testing.assert_close(found, anchored_attention(q, k, v, ends, ends))
    assert set(tiles) == {2, 3}
    assert anchored_attention(q, k, v, cu, cu, tiles={}).shape == q.shape, "torch needs none"


def test_compile_keeps_one_graph(device):
    (q, k, v, cu, cu_k), options = case([2, 1], 4, torch.float32, device, gathered=True, turned=False)
    compiled = torch.compile(
        lambda x: anchored_attention(x, k, v, cu, cu_k, **options, backend="triton") + 1,
        backend="aot_eager",
        fullgraph=True,
    )
    torch.testing.assert_close(compiled(q), anchored_attention(q, k, v, cu, cu_k, **options) + 1)


@pytest.mark.gpu
@pytest.mark.parametrize("width", [64, 72, 80, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gathered", [False, True])
def test_full_size(width, dtype, gathered):
    lengths = torch.randint(0, 400, (40,)).tolist()
    arguments, options = case(lengths, width, dtype, "cuda", gathered=gathered, turned=gathered, heads=16)
    found = anchored_attention(*arguments, **options, backend="triton")
    reference = anchored_attention(*arguments, **options, backend="torch")
    exact = anchored_attention(
        *(x.double() for x in arguments[:3]), *arguments[3:], **options, backend="torch"
    )
    assert_as_good(found, reference, exact)
