"""block_residual: how far the blocks of one stack of frames are from those of another."""

from framegate.kernels.block_residual.reference import block_residual

__all__ = ["block_residual"]
