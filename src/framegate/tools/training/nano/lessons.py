"""What framegate/nano is taught: the curriculum, step by step, and the two mixtures behind it."""

from __future__ import annotations

from framegate.tools.training.nano.batches import Lesson

_TEXT = ("text_at",)
_ALL = (
    *("text_at", "grid", "text_at", "when", "neighbour", "grid", "text_at", "order"),
    *("changed", "text_at", "grid", "appears", "count"),
)
READING_PAGES, READING_MARK = 32, 0.7
# lesson 0 is the tower's; then these
CURRICULUM = (
    Lesson(grid=(2, 3), tubes=1, videos=64, questions=1, kinds=_TEXT),
    Lesson(grid=(2, 3), tubes=2, videos=48, questions=4, kinds=_TEXT),
    Lesson(grid=(3, 4), tubes=3, videos=24, questions=6, kinds=_TEXT),
    Lesson(grid=(4, 6), tubes=4, videos=12, questions=8, kinds=_ALL),
    Lesson(grid=(4, 6), tubes=8, videos=8, questions=10, kinds=_ALL),
    Lesson(grid=(4, 6), tubes=16, videos=5, questions=12, kinds=_ALL),
)
PASS_MARKS = (0.7, 0.7, 0.7, 0.6, 0.6)  # the last lesson is never over
_SMALL, _WIDE, _WIDEST = (4, 6), (6, 10), (8, 14)
# what a model of varied sizes, lengths and rates sees once it has learnt the lessons: each as often as the others.
# First the tower learns to read at every size
VARIED = (
    CURRICULUM[-1],
    CURRICULUM[-2],
    Lesson(grid=_SMALL, tubes=8, videos=8, questions=6, kinds=("grid",)),
    Lesson(grid=_SMALL, tubes=32, videos=2, questions=16, kinds=_ALL, rates=(2.0, 4.0, 8.0)),
    Lesson(grid=_SMALL, tubes=60, videos=1, questions=20, kinds=_ALL, rates=(4.0, 8.0, 16.0)),
    Lesson(grid=_SMALL, tubes=8, videos=8, questions=10, kinds=_ALL, rates=(1.0, 2.0)),
    Lesson(grid=_WIDE, tubes=8, videos=4, questions=10, kinds=_ALL),
    Lesson(grid=_WIDE, tubes=16, videos=2, questions=14, kinds=_ALL),
    Lesson(grid=_WIDE, tubes=32, videos=1, questions=18, kinds=_ALL, rates=(2.0, 4.0, 8.0)),
    Lesson(grid=_WIDEST, tubes=4, videos=4, questions=8, kinds=_ALL),
    Lesson(grid=_WIDEST, tubes=8, videos=2, questions=12, kinds=_ALL),
    Lesson(grid=_WIDEST, tubes=16, videos=1, questions=18, kinds=_ALL, rates=(2.0, 4.0)),
    # two and five minutes
    Lesson(grid=_SMALL, tubes=60, videos=1, questions=20, kinds=_ALL, rates=(1.0, 0.5)),
    Lesson(grid=_SMALL, tubes=75, videos=1, questions=20, kinds=_ALL, rates=(0.5, 0.25)),
    # one frame, yes or no
    Lesson(grid=_SMALL, tubes=1, videos=40, questions=3, kinds=("appears", "text_at", "grid")),
    Lesson(grid=_WIDE, tubes=1, videos=16, questions=3, kinds=("appears", "text_at", "grid")),
)
_LONGER = (
    *("text_at", "grid", "when", "text_at", "order", "neighbour", "when", "text_at", "grid"),
    *("changed", "appears", "when", "count"),
)
# then the language model learns to find a time among many, with more questions about each video
LONGER = (
    Lesson(grid=_SMALL, tubes=16, videos=4, questions=16, kinds=_LONGER, rates=(4.0, 8.0)),
    Lesson(grid=_SMALL, tubes=32, videos=2, questions=24, kinds=_LONGER, rates=(2.0, 4.0, 4.0)),
    Lesson(grid=_SMALL, tubes=32, videos=2, questions=24, kinds=_LONGER, rates=(4.0, 8.0)),
    Lesson(grid=_SMALL, tubes=60, videos=1, questions=32, kinds=_LONGER, rates=(4.0,)),
    Lesson(grid=_SMALL, tubes=60, videos=1, questions=32, kinds=_LONGER, rates=(4.0, 8.0, 16.0)),
    Lesson(grid=_SMALL, tubes=60, videos=1, questions=32, kinds=_LONGER, rates=(1.0, 0.5)),
    Lesson(grid=_SMALL, tubes=75, videos=1, questions=32, kinds=_LONGER, rates=(0.5, 0.25)),
    Lesson(grid=_WIDE, tubes=16, videos=2, questions=20, kinds=_LONGER, rates=(2.0, 4.0)),
    Lesson(grid=_WIDE, tubes=32, videos=1, questions=24, kinds=_LONGER, rates=(4.0,)),
    Lesson(grid=_WIDE, tubes=60, videos=1, questions=32, kinds=_LONGER, rates=(4.0,)),
    Lesson(grid=_WIDEST, tubes=8, videos=2, questions=16, kinds=_LONGER, rates=(4.0, 8.0)),
    Lesson(grid=_WIDEST, tubes=16, videos=1, questions=20, kinds=_LONGER, rates=(2.0, 4.0)),
    Lesson(grid=_WIDEST, tubes=32, videos=1, questions=24, kinds=_LONGER, rates=(4.0,)),
    Lesson(grid=_WIDE, tubes=1, videos=16, questions=3, kinds=("appears", "text_at", "grid")),
)
MIXTURES = (VARIED, LONGER)
