"""Rows of a benchmark: where they were measured, the CSV that keeps the newest of each key, and the tests before."""

from __future__ import annotations

import csv
import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from framegate.errors import ConfigError
from framegate.provenance import commit


@dataclass(frozen=True, kw_only=True)
class Place:
    """The device and the code that ran on it.

    Args:
        device: name of the device.
        torch: version.
        triton: version, "" where there is none.
        commit: of this package; "unknown" outside a checkout.
    """

    device: str
    torch: str
    triton: str
    commit: str

    @property
    def folder(self) -> str:
        """Name of the device's folder: cpu_x86_64, nvidia_h100_80gb_hbm3."""
        return re.sub(r"[^a-z0-9]+", "_", self.device.lower()).strip("_")


def place_of(device: torch.device) -> Place:
    """Look where a device is: its name, and the versions of what runs on it."""
    on_gpu = device.type == "cuda"
    return Place(
        device=torch.cuda.get_device_name(device) if on_gpu else f"cpu {platform.machine()}",
        torch=torch.__version__,
        triton=_version("triton"),
        commit=commit() or "unknown",
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


COLUMNS = (
    *("op", "provider", "mode", "metric", "x_name", "x", "p50", "p20", "p80", "floor_ms", "of_floor"),
    *("peak_mib", "shape", "dtype", "device", "torch", "triton", "commit", "timestamp", "command"),
)
KEY = ("op", "provider", "mode", "x_name", "x", "dtype", "device")
METRIC = "ms"


def spelled_row(values: Mapping[str, Any]) -> dict[str, str]:
    """Spell a row's values as the CSV has them; what is unknown is empty."""
    return {name: _spelled(values.get(name)) for name in COLUMNS}


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(dict(value), sort_keys=True)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def merged_rows(old: Sequence[dict[str, str]], new: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Put new rows in the place of old ones of the same key, and keep the others in their order."""
    return list({_key(row): row for row in (*old, *new)}.values())


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Read a CSV of rows.

    Args:
        path: the file.

    Returns:
        Its rows; none where there is no file.

    Raises:
        ConfigError: the file has other columns.
    """
    if not Path(path).is_file():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigError(
                f"{path} has other columns than a benchmark ({', '.join(COLUMNS)}); take it away or give another --out."
            )
        return list(reader)


def write_rows(path: str | Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows into a CSV, each in the place of the one with its key.

    Args:
        path: the file; made with its folders where there is none.
        rows: of a run.

    Raises:
        ConfigError: the file is there and has other columns.
    """
    path = Path(path)
    merged = merged_rows(read_rows(path), rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged)
    part.replace(path)


SHOWN_LINES = 12


def failed_trials(op: str, folder: Path) -> str | None:
    """Run the tests of an op, test_<op>*.py, in a process of their own.

    Args:
        op: name of the op.
        folder: where its tests are.

    Returns:
        The end of what pytest said; None when all passed.

    Raises:
        ConfigError: there are no tests of the op in the folder.
    """
    files = sorted(map(str, folder.glob(f"test_{op}*.py")))
    if not files:
        raise ConfigError(f"{folder} holds no tests of {op} (test_{op}*.py).")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
