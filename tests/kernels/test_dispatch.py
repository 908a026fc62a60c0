"""Which path an op takes, who is told, and life without triton."""

import logging
import subprocess
import sys

import pytest
import torch

from framegate.errors import BackendError
from framegate.kernels import dispatch
from framegate.kernels.dispatch import kernels_run, recording, require, uses_triton

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _forget_what_was_logged():
    dispatch._log_once.cache_clear()


def test_auto_takes_kernels_on_a_gpu_and_torch_elsewhere():
    with recording() as ran:
        assert uses_triton("op", "auto", GPU)
        assert not uses_triton("op", "auto", CPU), "not even where the interpreter could"
        assert not uses_triton("op", "torch", GPU)
    assert ran == {("op", "triton"): 1, ("op", "torch"): 2}


def test_a_fallback_is_logged_once_and_recorded_with_its_reason(caplog):
    caplog.set_level(logging.INFO)
    with recording() as ran:
        for _ in range(3):
            assert not uses_triton("op", "auto", GPU, "rows are too odd")
        assert not uses_triton("op", "auto", torch.device("mps"))
    assert [record.getMessage() for record in caplog.records] == [
        "op runs as its torch reference: rows are too odd",
        "op runs as its torch reference: tensors are on mps, kernels run on CUDA and ROCm GPUs",
    ]
    assert ran["op", "torch (rows are too odd)"] == 3


def test_a_named_backend_runs_or_raises(monkeypatch):
    assert uses_triton("op", "triton", GPU)
    with pytest.raises(BackendError, match=r"op cannot run as a Triton kernel: too odd\. Use backend='auto'"):
        uses_triton("op", "triton", GPU, "too odd")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(BackendError, match="tensors are on cpu"):
        uses_triton("op", "triton", CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert uses_triton("op", "triton", CPU)


def test_cards_before_compute_8_are_left_to_torch_unless_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with recording() as ran:
        assert not uses_triton("op", "auto", GPU)
        assert uses_triton("op", "triton", GPU)
    assert ran["op", "torch (the GPU is of compute 7.5, kernels are for 8.0 and newer)"] == 1
    assert not kernels_run("auto", GPU)
    assert kernels_run("triton", GPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert kernels_run("auto", GPU)


def test_doubt_counts_for_auto_alone():
    assert not uses_triton("op", "auto", GPU, doubt="slow")
    assert uses_triton("op", "triton", GPU, doubt="slow")


def test_the_variable_replaces_auto_alone(monkeypatch):
    monkeypatch.setenv("FRAMEGATE_BACKEND", "torch")
    assert not uses_triton("op", "auto", GPU)
    assert uses_triton("op", "triton", GPU)
    monkeypatch.setenv("FRAMEGATE_BACKEND", "triton")
    assert not uses_triton("op", "torch", GPU)
    with pytest.raises(BackendError, match="too odd"):
        uses_triton("op", "auto", GPU, "too odd")
    monkeypatch.setenv("FRAMEGATE_BACKEND", "tritan")
    with pytest.raises(BackendError, match="variable FRAMEGATE_BACKEND is 'tritan'. Did you mean 'triton'"):
        uses_triton("op", "auto", GPU)


def test_an_unknown_backend_is_named():
    with pytest.raises(BackendError, match=r"backend is 'cuda'.*Known: auto, torch, triton"):
        uses_triton("op", "cuda", GPU)


def test_recordings_are_of_their_own_block():
    with recording() as outer:
        uses_triton("a", "torch", CPU)
        with recording() as inner:
            uses_triton("b", "torch", CPU)
    uses_triton("c", "torch", CPU)
    assert set(outer) == {("a", "torch")}
    assert set(inner) == {("b", "torch")}


def test_what_must_hold_is_said_with_values_on_the_cpu():
    require(torch.tensor(True), lambda: "never", "rule")
    with pytest.raises(ValueError, match="3 is too many"):
        require(torch.tensor(False), lambda: "3 is too many", "rule")


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
import torch
from framegate.errors import BackendError
from framegate.kernels.anchor_scan import anchor_scan
from framegate.kernels.anchored_attention import anchored_attention
from framegate.kernels.block_residual import block_residual
from framegate.kernels.compact import compact
from framegate.kernels.pool_condense import pool_condense
from framegate.kernels.scene_divergence import scene_divergence
from framegate.kernels.segment_merge import segment_merge
import framegate.models.attachment.front_end

frames, rows = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.ones(4, 2)
ones, cu = torch.ones(4, dtype=torch.long), torch.tensor([0, 4], dtype=torch.int32)
calls = {
    "block_residual": lambda **b: block_residual(frames, frames, 4, **b),
    "anchor_scan": lambda **b: anchor_scan(frames, 4, 1.0, **b),
    "compact": lambda **b: compact(rows, ones.bool(), 4, **b),
    "segment_merge": lambda **b: segment_merge(rows, ones, ones - 1, 1, **b),
    "pool_condense": lambda **b: pool_condense(rows, ones, torch.eye(4, 3).long(), torch.full((4, 2), 2), **b),
    "scene_divergence": lambda **b: scene_divergence(rows / 2, **b),
    "anchored_attention": lambda **b: anchored_attention(*[rows[:, None]] * 3, cu, cu, **b),
}
for name, call in calls.items():
    call()
    try:
        call(backend="triton")
    except BackendError as error:
        assert f"{name} cannot run as a Triton kernel: triton cannot be imported" in str(error), error
    else:
        raise AssertionError(name)
print(len(calls))
"""


def test_everything_works_without_triton():
    run = subprocess.run([sys.executable, "-c", WITHOUT_TRITON], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "7"


def test_poisoned_memory_still_follows_a_device_context():
    with torch.device("meta"):
        assert torch.empty(1).device.type == "meta"
