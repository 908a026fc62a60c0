"""Classes of transformers that read videos and have no family file: why, and which supported one comes closest."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from framegate.errors import UnsupportedModelError


class Refusal(NamedTuple):
    """Why a class is not served.

    Args:
        reason: what its code does that no family here does.
        closest: model type of the supported family that is most like it, "" for none.
    """

    reason: str
    closest: str = ""


_MUSE = (
    "no family file: its tower orders windows and shuffles patches into cells by the whole grid, and reads learned "
    "positions with rows and columns swapped, which no tower here does"
)
_OMNI = "it is a thinker, which writes the text, and a talker behind it: attach to model.thinker"
_NO_TEXT = "writes no text: it gives an embedding of a whole video, in which no token could be left out"

REFUSED: dict[str, Refusal] = {
    "EmbeddingGemma2Model": Refusal(_NO_TEXT),
    "Gemma4UnifiedForConditionalGeneration": Refusal(
        "it has no vision tower: patches are projected into the language model one by one, so that there is nothing to "
        "save before the prompt",
        "gemma4",
    ),
    "GitForCausalLM": Refusal(
        "it takes the frames of a video in pixel_values, adds a learned embedding for each of a fixed few, and writes "
        "them before a text that holds no placeholders"
    ),
    "Glm5NextForConditionalGeneration": Refusal(
        "no family file: its sizes and frames follow rules of their own, which the reader here does not know",
        "glm46v",
    ),
    "HYV4VLForConditionalGeneration": Refusal(
        "it writes a newline token behind every row of cells, which stands for no cell and moves with the row, and its "
        "language model chooses by an indexer what each token reads",
        "qwen2_vl",
    ),
    "InstructBlipVideoForConditionalGeneration": Refusal(
        "its Q-Former turns each of exactly four frames, for which its processor writes placeholders, into a fixed "
        "number of tokens that stand for no area, so that whole frames alone could be left out, of four",
        "internvl",
    ),
    "Lfm3VlForConditionalGeneration": Refusal(
        "its tower convolves every frame's whole grid of patches between its attention layers, which a part of a grid "
        "cannot stand in for",
        "qwen2_vl",
    ),
    "MiniCPMOcrForConditionalGeneration": Refusal(
        "no family file: the tower of MiniCPM-V without its merge between two blocks (4x) was not tried",
        "minicpmv4_6",
    ),
    "MiniMaxM3SparseForConditionalGeneration": Refusal(
        "its sparse attention takes a token's position for its slot in the cache, and where tokens are left out the "
        "two differ; its videos also come in segments of four tubes that attend as one",
        "qwen2_vl",
    ),
    "MuseGlimmerForConditionalGeneration": Refusal(_MUSE, "qwen2_5_vl"),
    "MuseSparkForConditionalGeneration": Refusal(_MUSE, "qwen2_5_vl"),
    "NemotronH_Omni_Reasoning_V3": Refusal(
        "it prunes its own video tokens (EVS, config.video_pruning_rate), and a front end beside it would reduce the "
        "prompt twice",
        "internvl",
    ),
    "PeVideoModel": Refusal(_NO_TEXT),
    "Qwen2_5OmniForConditionalGeneration": Refusal(
        _OMNI,
        "qwen2_5_omni_thinker",
    ),
    "Qwen3OmniMoeForConditionalGeneration": Refusal(
        _OMNI,
        "qwen3_omni_moe_thinker",
    ),
    "VideoPrismClipModel": Refusal(_NO_TEXT),
    "XCLIPModel": Refusal(_NO_TEXT),
}

# where transformers keeps the code that it downloads with a checkpoint
_REMOTE = "transformers_modules"
_HOW = "docs/extending.md, A family, says how to write a family file."


def check_not_refused(cls: type, *, served: Container[str]) -> None:
    """Refuse a class by its name, or for where its code comes from.

    Args:
        cls: of a model, or one that it derives from.
        served: names of classes that have a family.

    Raises:
        UnsupportedModelError: it is in `REFUSED`, or came with a checkpoint.
    """
    if cls.__module__.split(".")[0] == _REMOTE:
        raise remote_code(f"{cls.__name__} of {cls.__module__}")
    if cls.__name__ in REFUSED and cls.__name__ not in served:
        raise UnsupportedModelError(refusal(cls.__name__))


def refused_table() -> list[dict[str, str]]:
    """Say what is refused, a row for each class, in their order."""
    return [{"model_class": name} | row._asdict() for name, row in REFUSED.items()]


def refusal(name: str) -> str:
    """Word why a class of `REFUSED` is not served, and what comes closest."""
    reason, closest = REFUSED[name]
    return f"{name} is not supported: {reason}." + (f" Closest is {closest}. {_HOW}" if closest else "")


def remote_code(what: str) -> UnsupportedModelError:
    """Make the error for a model whose code comes with its checkpoint."""
    return UnsupportedModelError(
        f"{what} is code that comes with its checkpoint (trust_remote_code), of which nothing is known here: load the "
        "class of transformers where it has one, without trust_remote_code. Else put that code into a package of your "
        f"own; {_HOW}"
    )
