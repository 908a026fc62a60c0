"""Text that is read in the source frames and read again in the shown ones (RapidOCR, PP-OCR)."""

import hashlib
import unicodedata

import cv2
import numpy as np

SIMILARITY = 0.8
MIN_SCORE = 0.8
MIN_LETTERS = 3
SHORT_SIDE_PX = 384


def load_reader():
    """A function from a frame, uint8 [h, w, 3] RGB, to its lines of text; equal frames are read once."""
    from rapidocr import RapidOCR

    engine = RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Det.limit_type": "min",
            "Det.limit_side_len": SHORT_SIDE_PX,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )
    known = {}

    def read(frame):
        key = hashlib.blake2b(np.ascontiguousarray(frame)).digest()
        if key not in known:
            found = engine(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            known[key] = certain_lines(found.txts or (), found.scores or ())
        return known[key]

    return read


def certain_lines(texts, scores):
    """The lines that are surely text: three letters or digits and more, score .8 and more."""
    return [
        normal(text)
        for text, score in zip(texts, scores, strict=True)
        if score >= MIN_SCORE and sum(map(str.isalnum, text)) >= MIN_LETTERS
    ]


def normal(text):
    """Text without what does not matter: case, width of letters, runs of spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def recall(source_lines, shown_lines):
    """Share of the source's lines that are found again in the shown frame of the same time.

    Takes a list of lines per frame each; a line is found by an edit similarity of .8, and each answers for one. None
    when the source has no text.
    """
    total = sum(map(len, source_lines))
    if not total:
        return None
    return sum(found(a, b) for a, b in zip(source_lines, shown_lines, strict=True)) / total


def found(source, shown):
    """How many of the source's lines have a partner among the shown ones, each taken once, the surest first."""
    pairs = sorted(
        ((similarity(a, b), i, j) for i, a in enumerate(source) for j, b in enumerate(shown)), reverse=True
    )
    taken_source, taken_shown = set(), set()
    for value, i, j in pairs:
        if value >= SIMILARITY and i not in taken_source and j not in taken_shown:
            taken_source.add(i)
            taken_shown.add(j)
    return len(taken_source)


def similarity(a, b):
    """One minus the edit distance over the longer length."""
    return 1 - edit_distance(a, b) / max(len(a), len(b), 1)


def edit_distance(a, b):
    """Insertions, deletions and replacements that turn a into b."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
    return row[-1]
