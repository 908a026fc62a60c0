"""Data sets: many videos in, shards of plans, kept patches, tokens or answers out; a local loop, or Ray Data."""

from framegate.tools.batch.job import Job
from framegate.tools.batch.run import run_batch
from framegate.tools.batch.shards import Shards, read_shards
from framegate.tools.batch.tokens import model_inputs

__all__ = ["Job", "Shards", "model_inputs", "read_shards", "run_batch"]
