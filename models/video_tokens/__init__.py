"""Tokens between the tower and the language model: features, where they stand, and what they stand for."""

from framegate.models.video_tokens.tokens import Shape, VideoTokens

__all__ = ["Shape", "VideoTokens"]
