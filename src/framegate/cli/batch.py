"""`framegate batch`: a data set of videos, made into shards."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framegate.cli.options import make_console
from framegate.errors import ConfigError

# of videos that failed, so many lines are shown; all of them stand in the shards
SHOWN_ERRORS = 10


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What to make of which videos, by what, and where it goes; the options of `framegate batch`."""

    source: str
    out: Path
    output: Any
    model: str | None
    family: str | None
    question: str
    preset: str
    overrides: dict[str, Any]
    max_new_tokens: int
    engine: Any
    workers: int | None
    shard_videos: int | None
    retry_errors: bool


def batch_command(options: BatchOptions, *, as_json: bool) -> bool:
    """Run, and say what came of it; tells whether any row of the folder is whole."""
    from framegate.tools.batch import Job, run_batch

    _check_installed()
    job = Job(
        output=options.output,
        preset=options.preset,
        overrides=options.overrides,
        model=options.model,
        family=options.family,
        question=options.question,
        max_new_tokens=options.max_new_tokens,
    )
    done = run_batch(
        options.source,
        job,
        options.out,
        engine=options.engine,
        workers=(os.cpu_count() or 1) if options.workers is None else options.workers,
        shard_videos=options.shard_videos,
        retry_errors=options.retry_errors,
        command=shlex.join(["framegate", *sys.argv[1:]]),
    )
    rows = len(done.shards)
    if as_json:
        told = {"rows": rows, "made": done.made, "skipped": done.skipped, "errors": done.errors}
        print(json.dumps({"out": str(options.out)} | told, indent=2))
        return done.shards.errors < rows
    console = make_console()
    if done.errors:
        failed = [row for row in done.shards if row["status"] == "error"]
        for row in failed[:SHOWN_ERRORS]:
            console.print(f"error: {row['id']}: {row['error']}", style="red", highlight=False)
        if len(failed) > SHOWN_ERRORS:
            console.print(f"... and {len(failed) - SHOWN_ERRORS} more errors", style="red")
    console.print(
        f"{done.made} rows made, {done.errors} of them errors; {done.skipped} videos were done before; {options.out} "
        f"holds {rows} rows in {done.shards.num_shards} shards",
        highlight=False,
    )
    return done.shards.errors < rows


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise ConfigError("framegate batch writes Parquet by pyarrow: pip install 'framegate[batch]'.")
