"""A run over a data set: what is left of it, made by an engine, told to the manifest shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from framegate.errors import ConfigError, OutputError
from framegate.notebook import no_bar
from framegate.settings import Count, read
from framegate.tools.batch.items import Item, read_items
from framegate.tools.batch.job import RESUMES_ON, Job
from framegate.tools.batch.local import Task, Work, run_local
from framegate.tools.batch.on_ray import run_ray
from framegate.tools.batch.shards import (
    MANIFEST_NAME,
    PART,
    SUFFIX,
    ManifestFile,
    Shards,
    is_shard,
    read_shards,
)

Engine = Literal["local", "ray"]
_ENGINES: dict[str, Callable[..., Iterator[dict[str, object]]]] = {"local": run_local, "ray": run_ray}
# of plans, which are small, and of what holds pixels
SHARD_PLANS, SHARD_PIXELS = 32, 4
# so many shards for each worker at least, that all have work to the end
_SHARDS_A_WORKER = 4
_LOCK_NAME = "lock"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run came to.

    Args:
        shards: all rows of the folder, those of earlier runs too.
        made: rows that this run made.
        skipped: videos that were done before.
        errors: rows of status "error" that this run made.
    """

    shards: Shards
    made: int
    skipped: int
    errors: int


def run_batch(
    source: str,
    job: Job,
    out: str | Path,
    *,
    engine: Engine = "local",
    workers: int = 1,
    shard_videos: Count | None = None,
    retry_errors: bool = False,
    command: str = "",
    show_progress: bool = True,
) -> Done:
    """Make a row of every video of a data set, going on behind what an earlier run of the same kind wrote.

    Args:
        source: folder, glob or manifest; see `framegate.tools.batch.items.read_items`.
        job: what to make.
        out: folder of the shards.
        engine: "local", or "ray" for a cluster.
        workers: processes or actors that read videos; 0 for this process (local).
        shard_videos: most videos of a shard, which is what a kill can cost; None for 32 plans, or 4 of what holds
            pixels, and fewer where workers would stand idle.
        retry_errors: try again the videos whose row is of status "error"; the new row takes its place.
        command: how the run was started, for the header.
        show_progress: draw a progress bar on a terminal.

    Returns:
        What was made, and the rows of the folder.

    Raises:
        ConfigError: no video in the input, an id that stands twice, an unknown engine, a folder of another run, with
            files of others that are named as shards, or one that another run is writing.
        OutputError: the disk is full, or cannot be written.
    """
    from tqdm.auto import tqdm

    read(engine, Engine, "engine")
    most = read(shard_videos, Count | None, "shard_videos") or (
        SHARD_PLANS if job.output == "plans" else SHARD_PIXELS
    )
    items, folder, header = read_items(source), Path(out), job.header(command)
    made = Counter[str]()
    with _written(folder), ManifestFile(folder / MANIFEST_NAME, header, resumes_on=RESUMES_ON) as manifest:
        _tidy(folder, manifest.done)
        done = {name for line in manifest.rows for name in line["ids"]}
        if retry_errors:
            done -= read_shards(folder).error_ids()
        left = [item for item in items if item.id not in done]
        tasks = _tasks(left, _first_number(manifest.done), most, max(workers, 1))
        lines = _ENGINES[engine](tasks, Work(job=job, folder=folder, header=header), workers) if tasks else ()
        with tqdm(
            total=len(items),
            initial=len(items) - len(left),
            unit="video",
            disable=no_bar(show_progress),
        ) as bar:
            for line in lines:
                _told(manifest, line)
                made.update(rows=int(str(line["rows"])), errors=int(str(line["errors"])))
                bar.update(int(str(line["rows"])))
    return Done(
        shards=read_shards(folder),
        made=made["rows"],
        skipped=len(items) - len(left),
        errors=made["errors"],
    )


def _told(manifest: ManifestFile, line: dict[str, object]) -> None:
    try:
        manifest.append(line)
    except OSError as problem:
        raise OutputError(
            f"{manifest.path} cannot be written ({problem}); make room there and run the same command again."
        ) from problem


def _tasks(items: Sequence[Item], first: int, most: int, workers: int) -> list[Task]:
    size = max(1, min(most, len(items) // (_SHARDS_A_WORKER * workers)))
    starts = range(0, len(items), size)
    return [Task(first + place, tuple(items[start : start + size])) for place, start in enumerate(starts)]


def _first_number(names: set[str]) -> int:
    return 1 + max((int(name.removesuffix(SUFFIX).rpartition("-")[2]) for name in names), default=-1)


def _tidy(folder: Path, known: set[str]) -> None:
    """Remove shards that the manifest does not know: a run was killed before it could tell of them."""
    unknown = [file for file in folder.glob(f"shard-*{SUFFIX}") if file.name not in known]
    if foreign := [file for file in unknown if not is_shard(file)]:
        raise ConfigError(f"{foreign[0]} is none that framegate batch wrote; give another folder.")
    for file in (*unknown, *folder.glob(f"shard-*{SUFFIX}.*{PART}")):
        file.unlink()


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the lock ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK_NAME).open("w")
    except OSError as problem:
        raise OutputError(f"{folder} cannot be written ({problem}); give another folder.") from problem
    with file:
        _lock(file, folder)
        yield


def _lock(file: IO[str], folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where two runs into one folder are the user's to keep apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        raise ConfigError(
            f"Another run is writing to {folder}; wait for it, or give another folder."
        ) from problem
