"""Every kernel is compiled for real GPUs, with the very constants it is launched with: no GPU is needed for that."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPILE = Path(__file__).parents[1] / "support/compile_ahead.py"
# what a program may share: that of the smallest card of each family, so 99 KiB on NVIDIA's (compute 8.6 and 8.9)
SHARED_BYTES = {"cuda": 101_376, "hip": 65_536}
TENSOR_CORES = {
    "cuda:80": "mma.sync",
    "cuda:90": "wgmma.mma_async",
    "cuda:100": "tcgen05.mma",
    "hip:gfx942": "v_mfma",
}


@pytest.mark.slow
@pytest.mark.parametrize("target", TENSOR_CORES)
def test_every_case_compiles_without_spills(target, tmp_path):
    check_compiled(target, tmp_path)


def test_every_kernel_compiles_without_spills(tmp_path):
    check_compiled("cuda:90", tmp_path, "--one-each")


def check_compiled(target, cache, *options):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, str(COMPILE), target, *options],
        capture_output=True,
        text=True,
        env=environment | {"TRITON_CACHE_DIR": str(cache)},
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert {row["kernel"] for row in found["rows"]} == set(found["kernels"]), "a kernel has no case"
    backend = target.split(":")[0]
    for row in found["rows"]:
        assert row["spilled_bytes"] == 0, row
        assert row["shared"] <= SHARED_BYTES[backend], row
        if row["kernel"] == "attend_kernel" and "fp32" not in row["case"]:
            assert any(word.startswith(TENSOR_CORES[target]) for word in row["tensor_cores"]), row
