"""The same shards by Ray Data: decoding and the gate in actors on CPUs, a model in actors on GPUs, few in between."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from framegate.errors import ConfigError, FramegateError, VideoError
from framegate.tools.batch.job import Row
from framegate.tools.batch.local import Finisher, Maker, Task, Work

# Ray would try a video that kills its worker for ever
_MOST_RETRIES = 3


class _Read:
    """An actor's first stage: a task in, its line or its rows out, pickled, for tables know no arrays of all shapes."""

    def __init__(self, told: bytes) -> None:
        self._told = told

    @cached_property
    def _make(self) -> Maker:
        return Maker(pickle.loads(self._told))

    def __call__(self, row: Row) -> Row:
        task = pickle.loads(row["task"])
        return {"number": task.number, "made": _pickled(lambda: self._make(task))}


class _Ask:
    """An actor's second stage: rows in, the shard written, its line out."""

    def __init__(self, told: bytes) -> None:
        self._told = told

    @cached_property
    def _finish(self) -> Finisher:
        return Finisher(pickle.loads(self._told))

    def __call__(self, row: Row) -> Row:
        number = row["number"]
        made = _pickled(lambda: self._finish(number, _unpickled(row["made"])))
        return {"number": number, "made": made}


def _pickled(make: Callable[[], Any]) -> bytes:
    """What is made, or the user's mistake that stands against it, which Ray would wrap."""
    try:
        return pickle.dumps(make())
    except FramegateError as error:
        return pickle.dumps(error)


def _unpickled(made: bytes) -> Any:
    found = pickle.loads(made)
    if isinstance(found, FramegateError):
        raise found
    return found


def run_ray(tasks: Sequence[Task], work: Work, workers: int) -> Iterator[Row]:
    """Make shards in a Ray cluster, the one around this process (RAY_ADDRESS) or a private one on this machine.

    The folder of the shards has to be one that all nodes see. Ray starts dead workers again by itself.

    Args:
        tasks: one per shard.
        work: what to make, and where.
        workers: actors that read; a model has one on each GPU, or one on CPUs.

    Returns:
        Iterator over their lines for the manifest, as they come.

    Raises:
        ConfigError: Ray is not installed.
        OutputError: a shard cannot be written.
        VideoError: workers died over one shard, again and again.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray ({error}): pip install 'framegate[ray]'.") from error
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    told, pool = pickle.dumps(work), ray.data.ActorPoolStrategy
    # Ray 2.60 calls the second deprecated, and has no other word for it; pyproject.toml holds Ray below 2.64
    actors: dict[str, Any] = {"fn_constructor_args": (told,), "max_task_retries": _MOST_RETRIES}
    try:
        data = ray.data.from_items(
            [{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=len(tasks)
        )
        data = data.map(_Read, compute=pool(size=max(workers, 1)), **actors)
        if work.job.has_two_stages:
            gpus = int(ray.cluster_resources().get("GPU", 0))
            data = data.map(_Ask, compute=pool(size=gpus or 1), num_gpus=1 if gpus else 0, **actors)
        for row in data.iter_rows():
            yield _unpickled(row["made"])
    except ray.exceptions.RayActorError as error:
        raise VideoError(
            f"Workers died over one shard, {_MOST_RETRIES + 1} times: a video that no memory is left for, or that "
            "crashes its decoder. Run the same command with --engine local, which tells it apart."
        ) from error
    finally:
        if started:
            ray.shutdown()
