"""The local loop: processes that make shards, few in flight, and a worker that dies costs no video but its own."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from framegate.tools.batch.items import Item
from framegate.tools.batch.job import Finish, Job, Prepare, Row
from framegate.tools.batch.shards import write_shard

# shards that wait for one another in memory, for each worker
_AHEAD = 2


@dataclass(frozen=True)
class Task:
    """The videos of one shard, and its number."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every worker is told.

    Args:
        job: what to make.
        folder: where shards go.
        header: where rows come from.
    """

    job: Job
    folder: Path
    header: Mapping[str, Any]


class Maker:
    """Makes shards: their lines for the manifest, or their rows where a second stage follows."""

    def __init__(self, work: Work) -> None:
        self._work, self._prepare = work, Prepare(work.job)

    def __call__(self, task: Task) -> Any:
        """Read a shard's videos, and write it where nothing follows."""
        rows = [self._prepare(item) for item in task.items]
        if self._work.job.has_two_stages:
            return rows
        return write_shard(self._work.folder, task.number, rows, self._work.header)


class Finisher:
    """Goes on with rows: the second stage, then the shard is written."""

    def __init__(self, work: Work) -> None:
        self._work, self._finish = work, Finish(work.job)

    def __call__(self, number: int, rows: Sequence[Row]) -> Row:
        """Finish and write a shard; its line for the manifest."""
        return write_shard(self._work.folder, number, [self._finish(row) for row in rows], self._work.header)


def run_local(tasks: Sequence[Task], work: Work, workers: int) -> Iterator[Row]:
    """Make shards on this machine.

    Args:
        tasks: one per shard.
        work: what to make, and where.
        workers: processes; 0 for this one.

    Returns:
        Iterator over their lines for the manifest, in order but for those on which a worker died, which come last. A
        video that kills its worker again, alone, is a row of status "error".

    Raises:
        OutputError: a shard cannot be written.
    """
    finish = Finisher(work) if work.job.has_two_stages else None

    def line(task: Task, made: Any) -> Row:
        return made if finish is None else finish(task.number, made)

    if workers == 0:
        maker = Maker(work)
        yield from (line(task, maker(task)) for task in tasks)
        return
    fresh = count(max(task.number for task in tasks) + 1)
    suspects, waiting = list[Task](), deque(tasks)
    while waiting:
        yield from (line(task, made) for task, made in _pooled(waiting, work, workers, suspects))
    while suspects:
        task = suspects.pop(0)
        dead = list[Task]()
        yield from (line(task, made) for task, made in _pooled(deque([task]), work, 1, dead))
        if dead and len(task.items) == 1:
            yield write_shard(work.folder, task.number, [_killed(task.items[0])], work.header)
        elif dead:
            # one of them does it: halved until it stands alone
            middle = len(task.items) // 2
            suspects[:0] = [Task(next(fresh), task.items[:middle]), Task(next(fresh), task.items[middle:])]


def _pooled(
    waiting: deque[Task], work: Work, workers: int, suspects: list[Task]
) -> Iterator[tuple[Task, Any]]:
    """What tasks give, in order, until none waits or a worker dies; those then under way are `suspects`."""
    # fork would copy the locks of decoders and of torch
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    running: deque[tuple[Task, Future[Any]]] = deque()
    told = pickle.dumps(work)
    try:
        while waiting or running:
            while waiting and len(running) < workers * _AHEAD:
                running.append((waiting[0], pool.submit(_run, told, waiting[0])))
                waiting.popleft()
            task, future = running[0]
            made = future.result()
            running.popleft()
            yield task, made
    except BrokenProcessPool:
        for task, future in running:
            if future.done() and future.exception() is None:
                yield task, future.result()
            else:
                suspects.append(task)
    finally:
        pool.shutdown(cancel_futures=True)


def _run(told: bytes, task: Task) -> Any:
    return _maker(told)(task)


@lru_cache(maxsize=1)
def _maker(told: bytes) -> Maker:
    """What a worker process makes shards with, loaded by its first one."""
    return Maker(pickle.loads(told))


def _killed(item: Item) -> Row:
    told = (
        "WorkerDied: the process that read it was killed, twice (no memory left, or a crash of the decoder)"
    )
    return {"id": item.id, "path": item.path, "status": "error", "error": told}
