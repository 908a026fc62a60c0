"""Tiny randomly initialised models of the supported families: for `framegate run` without --model, and for tests.

Their words mean nothing; their shapes, token counts and code paths are those of the real classes.
"""

from framegate.models.tiny.builders import tiny_model, tiny_pair, tiny_tokenizer

__all__ = ["tiny_model", "tiny_pair", "tiny_tokenizer"]
