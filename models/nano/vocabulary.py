"""The words of framegate/nano: bytes for anything, whole tokens for times, places and the words of its questions."""

from __future__ import annotations

from typing import Any

from framegate.models.tiny.builders import tiny_tokenizer

# times of whole tenths of a second, one token each: a question's time and a frame's marker are the same token
LONGEST_SECONDS = 32
TIMES = tuple(f"{tenth / 10:.1f}" for tenth in range(LONGEST_SECONDS * 10))
_PLACES = ("top left", "top right", "bottom left", "bottom right", "top", "left", "centre", "right", "bottom")
_WORDS = (
    *(
        "What text stands at ",
        "Where is the marker at ",
        "How many texts appear?",
        "Which appears first, ",
        "When does ",
    ),
    *(" seconds?", " seconds>", " appear?", " or ", "user\n", "assistant\n", "system\n"),
)


def nano_tokenizer() -> Any:
    """Build the tokenizer.

    Returns:
        A PreTrainedTokenizerFast: the byte-level one of the tiny models with more tokens.
    """
    from tokenizers import AddedToken

    tokenizer = tiny_tokenizer("qwen3_vl")
    added = [AddedToken(word, special=False, normalized=False) for word in (*TIMES, *_PLACES, *_WORDS)]
    tokenizer.add_tokens(added)
    return tokenizer
