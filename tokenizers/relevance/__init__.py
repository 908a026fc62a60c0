"""How much each frame matters: by likeness to a question, or, without one, by how new it is."""

from framegate.tokenizers.relevance.frames import FrameScores, score_by_novelty, score_by_query
from framegate.tokenizers.relevance.scores import FrameTextEncoder, luma_features, novelty, similarity

__all__ = [
    "FrameScores",
    "FrameTextEncoder",
    "luma_features",
    "novelty",
    "score_by_novelty",
    "score_by_query",
    "similarity",
]
