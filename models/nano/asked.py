"""What framegate/nano can be asked: the wordings that it was taught, and those that it hardly answers."""

from __future__ import annotations

import re

_CODE, _SECONDS = r"[0-9A-Z]{3}", r"\d+(\.\d)?"
# an example of each wording, and what it may be otherwise
_ANSWERED = {
    "What text stands at 3.2 seconds?": rf"What text stands at {_SECONDS} seconds\?",
    "Where is the marker at 3.2 seconds?": rf"Where is the marker at {_SECONDS} seconds\?",
    "Which appears first, 7KP or A3C?": rf"Which appears first, {_CODE} or {_CODE}\?",
    "What changed between 1.0 and 3.2 seconds?": rf"What changed between {_SECONDS} and {_SECONDS} seconds\?",
}
_HARDLY = {
    "When does 7KP appear?": rf"When does {_CODE} appear\?",
    "Does 7KP appear?": rf"Does {_CODE} appear\?",
    "How many texts appear?": r"How many texts appear\?",
    "What text stands before 7KP?": rf"What text stands (before|after) {_CODE}\?",
}


NEVER_LOOKED = "framegate/nano was never taught where to look: it writes legal turns, and they mean nothing."


def advice_on(question: str) -> str | None:
    """Say why the model will not answer a question well.

    Args:
        question: as it is asked.

    Returns:
        A sentence with what works; None where it was taught this wording and answers it.
    """
    if any(re.fullmatch(wording, question.strip()) for wording in _ANSWERED.values()):
        return None
    works = ", ".join(repr(example) for example in _ANSWERED)
    if any(re.fullmatch(wording, question.strip()) for wording in _HARDLY.values()):
        return f"framegate/nano answers this kind of question hardly better than by guessing; it does answer {works}."
    return (
        "framegate/nano reads three-letter codes in rendered video and was never asked this; its answer means nothing. "
        f"It knows these words alone: {works}. Ask anything of another model, by --model."
    )
