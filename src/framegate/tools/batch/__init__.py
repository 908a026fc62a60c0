"""Data sets: many videos in, shards of plans, kept patches or answers out; a local loop, or Ray Data."""

from framegate.tools.batch.job import Job
from framegate.tools.batch.run import run_batch
from framegate.tools.batch.shards import Shards, read_shards

__all__ = ["Job", "Shards", "read_shards", "run_batch"]
