"""The words of framegate/nano: bytes for anything, whole tokens for times, places and the words of its questions."""

from __future__ import annotations

from typing import Any

from framegate.models.tiny import tiny_tokenizer

# Times of whole tenths of a second, one token each: a question's time and a frame's marker are the same token. From
# 64 seconds on a token holds the seconds and the point, and the tenth follows. Without the point, it would be a code's.
LONGEST_SECONDS = 600
_FIRST, _TENTHS = 32, 64
TIMES = tuple(f"{tenth / 10:.1f}" for tenth in range(_FIRST * 10))
LATER_TIMES = (
    *(f"{tenth / 10:.1f}" for tenth in range(_FIRST * 10, _TENTHS * 10)),
    *(f"{second}." for second in range(_TENTHS, LONGEST_SECONDS + 1)),
)
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
_LATER_WORDS = (
    *(
        "What text stands before ",
        "What text stands after ",
        "What changed between ",
        "Does ",
        " and ",
        "yes",
        "no",
    ),
    *("the text", "the marker", "the background", "nothing"),
    # what video agents say: FrameThinker, LOVE-R1, EARL, and the yes and no of SeViLA and ChronoForge
    *("<think>", "</think>", "<action>", "</action>", "choose frames between ", "get frame number at time "),
    *("output answer: ", "Frame number at time ", " is: ", "frame ", "\\boxed{", "}", "[", "]"),
    *(
        "I need to zoom in on the video.\n\n",
        "I get the answer.\n\n",
        "Full video ",
        "Subset zoom-in video clip ",
    ),
    *("<tool_call>", "</tool_call>", "select_frames", "target_frames", "name", "arguments"),
)


def nano_tokenizer() -> Any:
    """Build the tokenizer.

    Returns:
        A PreTrainedTokenizerFast: the byte-level one of the tiny models with more tokens.
    """
    from tokenizers import AddedToken

    tokenizer = tiny_tokenizer("qwen3_vl")
    # weights know words by their number: what is new goes to the end
    words = (*TIMES, *_PLACES, *_WORDS, *LATER_TIMES, *_LATER_WORDS)
    added = [AddedToken(word, special=False, normalized=False) for word in words]
    tokenizer.add_tokens(added)
    return tokenizer
