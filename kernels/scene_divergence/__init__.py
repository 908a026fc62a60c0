"""scene_divergence: how far the distributions of scenes are from each other, pair by pair."""

from framegate.kernels.scene_divergence.reference import Kind, scene_divergence

__all__ = ["Kind", "scene_divergence"]
