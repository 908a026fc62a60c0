"""The same shards by Ray Data: decoding and the gate in actors on CPUs, a model in actors on GPUs, few in between."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

from framegate.errors import ConfigError
from framegate.tools.batch.job import Row
from framegate.tools.batch.local import Finisher, Maker, Task, Work


class _Read:
    """An actor's first stage: a task in, its line or its rows out, pickled, for tables know no arrays of all shapes."""

    def __init__(self, told: bytes) -> None:
        self._make = Maker(pickle.loads(told))

    def __call__(self, row: Row) -> Row:
        task = pickle.loads(row["task"])
        return {"number": task.number, "made": pickle.dumps(self._make(task))}


class _Ask:
    """An actor's second stage: rows in, the shard written, its line out."""

    def __init__(self, told: bytes) -> None:
        self._finish = Finisher(pickle.loads(told))

    def __call__(self, row: Row) -> Row:
        return {
            "number": row["number"],
            "made": pickle.dumps(self._finish(row["number"], pickle.loads(row["made"]))),
        }


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
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray ({error}): pip install 'framegate[ray]'.") from error
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        told = pickle.dumps(work)
        data = ray.data.from_items(
            [{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=len(tasks)
        )
        size = {"fn_constructor_args": (told,)}
        data = data.map(_Read, compute=ray.data.ActorPoolStrategy(size=max(workers, 1)), **size)
        if work.job.has_two_stages:
            gpus = int(ray.cluster_resources().get("GPU", 0))
            on = {"num_gpus": 1} if gpus else {}
            data = data.map(_Ask, compute=ray.data.ActorPoolStrategy(size=gpus or 1), **on, **size)
        for row in data.iter_rows():
            yield pickle.loads(row["made"])
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    finally:
        if started:
            ray.shutdown()
