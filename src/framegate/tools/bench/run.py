"""From cases to rows: first all of an op's providers are compared, then they are timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch

from framegate.errors import ConfigError, nearest
from framegate.tools.bench import attention_cases, op_cases
from framegate.tools.bench.case import MODES, Case, Mode, Setting, ready, require_agreement
from framegate.tools.bench.rows import METRIC, Place, spelled_row
from framegate.tools.bench.timing import floor_ms, peak_mib, rate_calls, time_all

CASES: dict[str, Callable[[Setting], Iterator[Case]]] = {
    "block_residual": op_cases.block_residual_cases,
    "anchor_scan": op_cases.anchor_scan_cases,
    "compact": op_cases.compact_cases,
    "segment_merge": op_cases.segment_merge_cases,
    "pool_condense": op_cases.pool_condense_cases,
    "scene_divergence": op_cases.scene_divergence_cases,
    "anchored_attention": attention_cases.anchored_attention_cases,
}
OPS = tuple(CASES)


@dataclass(frozen=True)
class Account:
    """What a run of one op gave.

    Args:
        rows: as the CSV has them.
        skipped: why a provider got no row, by (op, provider, mode, x_name, x).
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[tuple[str, str, str, str, str], str] = field(default_factory=dict)


def check_ops(names: Sequence[str]) -> tuple[str, ...]:
    """Settle which ops to time.

    Args:
        names: of ops; none for all of them.

    Returns:
        The ops, each once, in the order of the table.

    Raises:
        ConfigError: a name that is no op's; the message names the nearest one.
    """
    for name in names:
        if name not in OPS:
            raise ConfigError(f"There is no op {name!r}. {nearest(name, OPS)}")
    return tuple(op for op in OPS if not names or op in names)


def cases_of(op: str, setting: Setting) -> Iterator[Case]:
    """Make the cases of an op, one after the other, the same ones each time; ConfigError for an unknown op."""
    check_ops([op])
    return CASES[op](setting)


def bench_op(
    op: str,
    setting: Setting,
    place: Place,
    *,
    command: str = "",
    on_step: Callable[[str], None] = lambda _: None,
) -> Account:
    """Compare and time an op.

    Args:
        op: name of the op.
        setting: where, how large, how long.
        place: what rows say of the device and the code.
        command: what rows say of how they were made.
        on_step: told in words what comes next.

    Returns:
        Rows, and the reasons of providers without one.

    Raises:
        ConfigError: an unknown op.
        DisagreementError: a provider's results are not the reference's; nothing was timed.
    """
    return bench_cases(lambda: cases_of(op, setting), setting, place, command=command, on_step=on_step)


def bench_cases(
    make_cases: Callable[[], Iterable[Case]],
    setting: Setting,
    place: Place,
    *,
    command: str = "",
    on_step: Callable[[str], None] = lambda _: None,
) -> Account:
    """Compare and time cases; see `bench_op`.

    Args:
        make_cases: gives the cases, the same ones each time, so that only one need be in memory.
        setting: where, how large, how long.
        place: what rows say of the device and the code.
        command: what rows say of how they were made.
        on_step: told in words what comes next.

    Returns:
        Rows, and the reasons of providers without one.

    Raises:
        DisagreementError: a provider's results are not the reference's; nothing was timed.
    """
    account = Account()
    with torch.no_grad():
        for case, mode in _with_modes(make_cases()):
            on_step(f"compare {case.op} {mode} {case.x_name} {case.x:g}")
            found = ready(case, mode, setting)
            require_agreement(case, mode, found)
            for provider, why in found.skipped.items():
                account.skipped[case.op, provider, mode, case.x_name, f"{case.x:g}"] = why
        for case, mode in _with_modes(make_cases()):
            on_step(f"time {case.op} {mode} {case.x_name} {case.x:g}")
            account.rows.extend(_timed(case, mode, setting, place, command))
    return account


def _with_modes(cases: Iterable[Case]) -> Iterable[tuple[Case, Mode]]:
    return ((case, mode) for case in cases for mode in MODES if mode in case.work)


def _timed(case: Case, mode: Mode, setting: Setting, place: Place, command: str) -> list[dict[str, str]]:
    calls = ready(case, mode, setting).calls
    work = case.work[mode]
    peaks = {name: peak_mib(call, setting.device) for name, call in calls.items()}
    times = time_all(calls | rate_calls(work, case.dtype, setting), setting.device, quick=setting.quick)
    floor = floor_ms(work, times, setting.size)
    shared = {
        "op": case.op,
        "mode": mode,
        "metric": METRIC,
        "x_name": case.x_name,
        "x": f"{case.x:g}",
        "floor_ms": floor,
        "shape": case.shape,
        "dtype": str(case.dtype).removeprefix("torch."),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }
    return [
        spelled_row(
            shared
            | vars(place)
            | times[name]._asdict()
            | {"provider": name, "of_floor": floor / times[name].p50, "peak_mib": peaks[name]}
        )
        for name in calls
    ]
