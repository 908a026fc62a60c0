"""scene_divergence: by hand, by property, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framegate.kernels.scene_divergence import scene_divergence

KINDS = ["jensen_shannon", "reversed"]


def random_distributions(rows, values, seed, *, zeros=0.0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, values, generator=generator, dtype=torch.float64)
    logits[:, 1:][torch.rand(rows, values - 1, generator=generator) < zeros] = -torch.inf
    return logits.softmax(1)


def by_definition(p, q, kind):
    """KL by KL, as the formula is printed; 0 log 0 = 0."""
    m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]

    def kl(a, b):
        return sum(x * math.log(x / y) if y > 0 else math.inf for x, y in zip(a, b, strict=True) if x > 0)

    sides = [(p, m), (q, m)] if kind == "jensen_shannon" else [(m, p), (m, q)]
    return sum(kl(a, b) for a, b in sides) / 2


def test_by_hand():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
    half = (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25) + math.log(1 / 0.75)) / 2
    wanted = torch.tensor([[0, half, half], [half, 0, math.log(2)], [half, math.log(2), 0]])
    torch.testing.assert_close(scene_divergence(p), wanted, rtol=1e-6, atol=1e-7)
    quarter = torch.tensor([[0.25, 0.75]])
    m = (0.375, 0.625)
    reverse = sum(x * (math.log(x / 0.5) + math.log(x / y)) for x, y in zip(m, (0.25, 0.75), strict=True)) / 2
    assert scene_divergence(p[:1], quarter, kind="reversed").item() == pytest.approx(reverse, rel=1e-6)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 9), st.sampled_from(KINDS), st.integers(0, 2**31))
def test_every_pair_is_the_definition(rows, columns, values, kind, seed):
    p = random_distributions(rows, values, seed, zeros=0.3)
    q = random_distributions(columns, values, seed + 1, zeros=0.3)
    found = scene_divergence(p, q, kind=kind)
    assert found.shape == (rows, columns)
    for i in range(rows):
        for j in range(columns):
            assert found[i, j].item() == pytest.approx(
                by_definition(p[i].tolist(), q[j].tolist(), kind), abs=1e-12
            )


@given(st.integers(1, 6), st.integers(2, 50), st.sampled_from(KINDS), st.integers(0, 2**31))
def test_symmetric_and_zero_only_for_equal_rows(rows, values, kind, seed):
    p = random_distributions(rows, values, seed).float()
    divergence = scene_divergence(p, kind=kind)
    torch.testing.assert_close(divergence, divergence.T, rtol=1e-5, atol=0)
    assert torch.equal(divergence == 0, torch.eye(rows, dtype=torch.bool))


@given(st.integers(1, 6), st.integers(2, 50), st.integers(0, 2**31))
def test_jensen_shannon_stays_below_ln_2(rows, values, seed):
    divergence = scene_divergence(random_distributions(rows, values, seed, zeros=0.6).float())
    assert bool((divergence >= 0).all())
    assert divergence.max().item() <= torch.tensor(math.log(2)).item()


def test_nothing_shared_is_ln_2_and_infinite_reversed():
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75, 0.0]])
    assert scene_divergence(p)[0, 1].item() == pytest.approx(math.log(2), rel=1e-7)
    assert scene_divergence(p, kind="reversed")[0, 1].item() == math.inf


def test_nearly_equal_rows_keep_their_order_in_float32():
    values = 1 << 10
    ramp = torch.linspace(-1, 1, values, dtype=torch.float64)
    p = torch.stack([(1 + step * ramp) / values for step in (0.0, 1e-3, 2e-3, 4e-3)])
    exact, found = scene_divergence(p)[0], scene_divergence(p.float())[0]
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=0)


def test_half_precision_is_summed_in_float32():
    p = torch.full((2, 4096), 1 / 4096, dtype=torch.bfloat16)
    p[1, :2048] *= 1.5
    p[1, 2048:] *= 0.5
    found = scene_divergence(p)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, scene_divergence(p.double()).float(), rtol=1e-5, atol=0)


def test_no_rows():
    assert scene_divergence(torch.zeros(0, 3), torch.full((2, 3), 1 / 3)).shape == (0, 2)
    assert scene_divergence(torch.full((2, 3), 1 / 3), torch.zeros(0, 3)).shape == (2, 0)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (torch.ones(2, 3), None, r"p\[0\] adds up to 3"),
        (torch.tensor([[1.5, -0.5]]), None, "least value of -0.5"),
        (torch.tensor([[0.5, math.nan]]), None, "adds up to nan"),
        (torch.ones(3) / 3, None, "must be floating point"),
        (torch.ones(1, 1).long(), None, "must be floating point"),
        (torch.ones(2, 2) / 2, torch.ones(1, 4) / 4, "as many columns"),
    ],
)
def test_what_is_no_distribution_is_refused(p, q, message):
    with pytest.raises(ValueError, match=message):
        scene_divergence(p, q)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'jsd'.*jensen_shannon"):
        scene_divergence(torch.ones(1, 1), kind="jsd")
