"""`framegate bench`: the kernels beside their references, as a table and as CSVs."""

from __future__ import annotations

import json
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from framegate.cli.options import make_console
from framegate.errors import DisagreementError

if TYPE_CHECKING:
    from rich.table import Table

    from framegate.tools.bench import Account, Place, Setting

QUICK_SUFFIX = "-quick"
Skipped = dict[tuple[str, str, str, str, str], str]
COLUMNS: dict[str, Literal["left", "right"]] = {
    "mode": "left",
    "size": "left",
    "provider": "left",
    "p50 ms": "right",
    "p20 to p80": "right",
    "floor ms": "right",
    "of floor": "right",
    "peak MiB": "right",
}


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to time, where, and where the rows go; the options of `framegate bench`."""

    ops: tuple[str, ...]
    device: str
    out: Path | None
    quick: bool
    compiles: bool | None
    trials: Path | None


@dataclass(frozen=True)
class Outcome:
    """What a run gave: rows, reasons of providers without one, refused ops and the files that were written."""

    rows: list[dict[str, str]] = field(default_factory=list)
    skipped: Skipped = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)


def bench_command(options: BenchOptions, *, as_json: bool) -> bool:
    """Compare, time, write and print; tells whether no op was refused."""
    from framegate.tools.bench import check_ops, place_of, setting_of

    ops = check_ops(options.ops)
    setting = setting_of(options.device, quick=options.quick, compiles=options.compiles)
    place = place_of(setting.device)
    outcome = _run(ops, setting, place, options)
    if as_json:
        print(json.dumps(_account(outcome, place), indent=2))
    else:
        _print(outcome, place, tested=options.trials is not None)
    for op, why in outcome.refused.items():
        print(f"error: {op} was refused, nothing of it is written: {why}", file=sys.stderr)
    return not outcome.refused


def _run(ops: Sequence[str], setting: Setting, place: Place, options: BenchOptions) -> Outcome:
    from tqdm import tqdm

    from framegate.tools.bench import write_rows

    outcome = Outcome()
    with tqdm(total=len(ops), unit="op", disable=None) as bar:
        for op in ops:
            found = _bench(op, setting, place, options, lambda words: bar.set_description(words))
            bar.update()
            if isinstance(found, str):
                outcome.refused[op] = found
                continue
            outcome.rows.extend(found.rows)
            outcome.skipped.update(found.skipped)
            if options.out is not None:
                # small sizes are no measurement: tables shall not find them
                folder = f"{place.folder}{QUICK_SUFFIX}" if options.quick else place.folder
                path = options.out / folder / f"{op}.csv"
                write_rows(path, found.rows)
                outcome.written.append(path)
    return outcome


def _bench(
    op: str, setting: Setting, place: Place, options: BenchOptions, on_step: Callable[[str], None]
) -> Account | str:
    """Time an op, or say why it is refused: the other ops shall be timed all the same."""
    from framegate.tools.bench import bench_op, failed_trials

    if options.trials is not None:
        on_step(f"tests of {op}")
        failure = failed_trials(op, options.trials)
        if failure is not None:
            return f"its tests fail\n{failure}"
    command = shlex.join(["framegate", *sys.argv[1:]])
    try:
        return bench_op(op, setting, place, command=command, on_step=on_step)
    except DisagreementError as error:
        return str(error)


def reasons(outcome: Outcome) -> list[str]:
    """Put the reasons of providers without a row into lines, one per provider and reason."""
    with_rows = {(row["op"], row["provider"]) for row in outcome.rows}
    whose: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for (op, provider, _, x_name, x), why in outcome.skipped.items():
        where = f"{op} {x_name} {x}" if (op, provider) in with_rows else op
        whose[provider, why][where] = None
    return [f"no row of {provider}: {why} ({', '.join(where)})" for (provider, why), where in whose.items()]


def _account(outcome: Outcome, place: Place) -> dict[str, object]:
    names = ("op", "provider", "mode", "x_name", "x")
    return {
        "place": asdict(place),
        "rows": outcome.rows,
        "skipped": [
            dict(zip(names, key, strict=True)) | {"why": why} for key, why in outcome.skipped.items()
        ],
        "refused": outcome.refused,
        "written": [str(path) for path in outcome.written],
    }


def _print(outcome: Outcome, place: Place, *, tested: bool) -> None:
    console = make_console()
    console.print(f"{place.device}  torch {place.torch}  triton {place.triton or 'none'}", highlight=False)
    for op in dict.fromkeys(row["op"] for row in outcome.rows):
        console.print(_table(op, [row for row in outcome.rows if row["op"] == op]))
    for line in reasons(outcome):
        console.print(line, highlight=False)
    for path in outcome.written:
        console.print(f"wrote {path}", highlight=False)
    if outcome.written and not tested:
        console.print("The ops' tests were not run: --tests FOLDER runs them first.", highlight=False)


def _table(op: str, rows: Sequence[Mapping[str, str]]) -> Table:
    from rich.table import Table

    table = Table(title=f"{op}, {rows[0]['dtype']}", title_justify="left")
    for column, justify in COLUMNS.items():
        table.add_column(column, justify=justify)
    last: object = None
    for row in rows:
        case = [row["mode"], f"{row['x_name']} {row['x']}"]
        # a case's name stands once, before its providers
        table.add_row(*(case if case != last else [""] * len(case)), *_figures(row))
        last = case
    return table


def _figures(row: Mapping[str, str]) -> list[str]:
    p50, p20, p80, floor = (float(row[name]) for name in ("p50", "p20", "p80", "floor_ms"))
    peak = f"{float(row['peak_mib']):,.0f}" if row["peak_mib"] else ""
    share = f"{100 * float(row['of_floor']):.2g}%"
    return [row["provider"], f"{p50:.3g}", f"{p20:.3g} to {p80:.3g}", f"{floor:.3g}", share, peak]
