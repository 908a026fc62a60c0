"""Questions about videos with exact answers: readers, scores with intervals, and runs that can be taken up again."""

from framegate.tools.evaluation.dive import read_dive
from framegate.tools.evaluation.metrics import score
from framegate.tools.evaluation.questions import read_folder
from framegate.tools.evaluation.results import Results, read_results
from framegate.tools.evaluation.runner import evaluate
from framegate.tools.evaluation.summary import compare, summarise

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
