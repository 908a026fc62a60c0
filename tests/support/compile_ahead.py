"""Compile every kernel for a GPU that is not there, and print what came out as JSON.

    python tests/support/compile_ahead.py cuda:90 [--one-each]

A process of its own: TRITON_INTERPRET must not be set, and one process cannot both interpret and compile.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from framegate.kernels.anchor_scan import triton_kernel as anchor_scan
from framegate.kernels.anchored_attention import triton_kernel as anchored_attention
from framegate.kernels.block_residual import triton_kernel as block_residual
from framegate.kernels.compact import triton_kernel as compact
from framegate.kernels.pool_condense import triton_kernel as pool_condense
from framegate.kernels.scene_divergence import triton_kernel as scene_divergence
from framegate.kernels.segment_merge import triton_kernel as segment_merge

METRICS = ("mad", "l2", "ssim")
POINTERS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WARP_THREADS = {"cuda": 32, "hip": 64}


class Case(NamedTuple):
    """One kernel as it is launched: argument types in order, constants, and warps or stages where they are set."""

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int] = {}  # noqa: RUF012


def types(text: str) -> dict[str, str]:
    """Spell argument types: "*fp16 features, i32 width" -> {"features": "*fp16", "width": "i32"}."""
    return {name: kind for kind, name in (part.split() for part in text.split(","))}


def gate_cases() -> Iterator[Case]:
    for metric in METRICS:
        side, cells, lines = block_residual.tile_of(28)
        yield Case(
            f"block_residual {metric}",
            block_residual.residual_kernel,
            types("*u8 frames_a, *u8 frames_b, *fp32 out, i32 rows, i32 columns"),
            {"PLANES": 2, "CELL": 28, "SIDE": side, "CELLS": cells, "LINES": lines, "METRIC": metric},
        )
        for counts in (False, True):
            lines, side, warps = anchor_scan.tile_of(2, 28)
            yield Case(
                f"anchor_scan {metric} {'step' if counts else 'whole'}",
                anchor_scan.scan_kernel,
                types(
                    "*u8 frames, *fp32 thresholds, *i8 keep, *fp32 residual, *i32 anchor, *i32 changed, i32 first, "
                    "i32 last, i32 steps, i32 rows, i32 columns, i32 max_age, i32 most"
                ),
                {"PLANES": 2, "CELL": 28, "LINES": lines, "SIDE": side, "METRIC": metric, "COUNTS": counts},
                {"num_warps": warps},
            )


def row_cases() -> Iterator[Case]:
    for kind in POINTERS:
        columns = segment_merge.columns_of(3584)
        constants = {"ROWS": segment_merge.ROWS, "COLUMNS": columns, "WIDE": triton.language.float32}
        yield Case(
            f"segment_merge {kind}",
            segment_merge.merge_kernel,
            types(f"*{kind} features, *fp32 share, *i64 order, *i64 starts, *{kind} merged, i32 width"),
            constants,
        )
        yield Case(
            f"segment_merge backward {kind}",
            segment_merge.spread_kernel,
            types(f"*{kind} merged, *fp32 share, *i64 segment, *{kind} out, i32 rows, i32 width"),
            constants | {"ROWS": segment_merge.SPREAD_ROWS},
        )
        yield Case(
            f"pool_condense {kind}",
            pool_condense.pool_kernel,
            types(
                f"*{kind} features, *fp32 share, *i64 segment_of, *i64 row_at, *i64 spans, *{kind} pooled, i32 line, "
                "i32 width"
            ),
            constants | {"ROWS": pool_condense.ROWS},
        )
        for is_reversed in (False, True):
            names = ("ROWS", "VALUES", "STEPS", "TERMS", "SMALL")
            yield Case(
                f"scene_divergence {'reversed' if is_reversed else 'jensen_shannon'} {kind}",
                scene_divergence.divergence_kernel,
                types(f"*{kind} p, *{kind} q, *fp32 partial, i32 rows, i32 blocks, i32 values"),
                {name: getattr(scene_divergence, name) for name in names} | {"REVERSED": is_reversed},
            )
        yield Case(
            f"compact {kind}",
            compact.compact_kernel,
            types(f"*{kind} rows, *i8 keep, *i64 place, *{kind} out, i32 num_kept, i32 width"),
            {"COLUMNS": compact.columns_of(4704)},
        )


def attention_cases() -> Iterator[Case]:
    for kind, dtype in POINTERS.items():
        for width in (64, 72, 80, 128):
            for form in ("own", "gathered", "turned"):
                tile = anchored_attention.tile_of(width, dtype)
                options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
                yield Case(
                    f"anchored_attention {form} {kind} {width}",
                    anchored_attention.attend_kernel,
                    types(
                        f"*{kind} query, *{kind} key, *{kind} value, *{kind} out, *i64 rows, *fp32 cos, *fp32 sin, "
                        "*i32 tile_segment, *i64 tile_start, *i32 cu_q, *i32 cu_k, fp32 scale, i32 stride_qn, "
                        "i32 stride_qh, i32 stride_kn, i32 stride_kh, i32 stride_vn, i32 stride_vh, i32 heads, "
                        "i32 num_segments"
                    ),
                    {
                        "WIDTH": width,
                        "SIDE": triton.next_power_of_2(width),
                        "GATHERED": form != "own",
                        "TURNED": form == "turned",
                        "DOT": getattr(triton.language, str(dtype).removeprefix("torch.")),
                        **tile,
                    },
                    options,
                )


def cases() -> list[Case]:
    return [*gate_cases(), *row_cases(), *attention_cases()]


def all_kernels() -> set[str]:
    """Names of every function that a GPU is to run, those that others call left out."""
    folder = Path(anchor_scan.__file__).parents[1]
    return {
        name
        for path in folder.glob("*/triton_kernel.py")
        for name in re.findall(r"^def (\w+_kernel)\(", path.read_text(), re.M)
    }


def aligned(names: dict[str, str]) -> dict[tuple[int, ...], list[list[Any]]]:
    """Tell the compiler what a launch would find out: pointers and widths are multiples of 16."""
    sure = ("width", "stride_")
    return {
        (number,): [["tt.divisibility", 16]]
        for number, (name, kind) in enumerate(names.items())
        if kind.startswith("*") or name.startswith(sure)
    }


def spilled_bytes(cubin: bytes) -> int:
    """Local memory and stack of a CUDA binary, as cuobjdump tells."""
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tools / "cuobjdump"), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(?:STACK|LOCAL):(\d+)", text)
    assert found, text
    return sum(map(int, found))


def compiled(case: Case, target: GPUTarget) -> dict[str, Any]:
    kinds = case.types | dict.fromkeys(case.constants, "constexpr")
    assert set(kinds) == set(case.kernel.arg_names), (case.name, set(kinds) ^ set(case.kernel.arg_names))
    signature = {name: kinds[name] for name in case.kernel.arg_names}
    source = ASTSource(
        fn=case.kernel, signature=signature, constexprs=case.constants, attrs=aligned(signature)
    )
    kernel = triton.compile(source, target=target, options=case.options)
    found = {"case": case.name, "kernel": case.kernel.__name__, "shared": kernel.metadata.shared}
    if target.backend == "cuda":
        words = set(re.findall(r"(wgmma\.mma_async|mma\.sync|tcgen05\.mma)[\w.:]*", kernel.asm["ptx"]))
        found |= {"tensor_cores": sorted(words), "spilled_bytes": spilled_bytes(kernel.asm["cubin"])}
    else:
        spills = re.findall(r"(?:vgpr|sgpr)_spill_count:\s*(\d+)", kernel.asm["amdgcn"])
        assert spills, case.name
        words = set(re.findall(r"v_mfma_\w+", kernel.asm["amdgcn"]))
        found |= {"tensor_cores": sorted(words), "spilled_bytes": sum(map(int, spills))}
    return found


def one_each() -> list[Case]:
    """The first case of every kernel in half precision, where tensor cores are wanted."""
    first = {case.kernel: case for case in reversed(cases()) if "fp32" not in case.name}
    return list(first.values())


def main() -> None:
    backend, arch = sys.argv[1].split(":")
    target = GPUTarget(backend, int(arch) if arch.isdigit() else arch, WARP_THREADS[backend])
    chosen = one_each() if "--one-each" in sys.argv else cases()
    rows = [compiled(case, target) for case in chosen]
    print(json.dumps({"kernels": sorted(all_kernels()), "rows": rows}))


if __name__ == "__main__":
    main()
