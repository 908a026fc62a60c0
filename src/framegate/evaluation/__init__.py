"""Questions about videos with exact answers: readers, scores with intervals, and runs that can be taken up again."""

from framegate.evaluation.dive import read_dive
from framegate.evaluation.folder import read_folder
from framegate.evaluation.metrics import score
from framegate.evaluation.results import Results, read_results
from framegate.evaluation.runner import evaluate
from framegate.evaluation.summary import compare, summarise

__all__ = [
    "Results",
    "compare",
    "evaluate",
    "read_dive",
    "read_folder",
    "read_results",
    "score",
    "summarise",
]
