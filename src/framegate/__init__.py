"""framegate: a drop-in visual front end for Hugging Face video LVLMs.

Names are loaded on first use, so that `import framegate` loads neither torch nor transformers.
"""

from importlib import import_module
from typing import Any

from framegate.version import __version__

_HOMES = {
    "AutoModelForImageTextToText": "framegate.models.auto",
    "AutoProcessor": "framegate.models.auto",
    "FinetuneConfig": "framegate.tools.training",
    "FramePlan": "framegate.types",
    "FrontEnd": "framegate.models.attachment",
    "FrontEndConfig": "framegate.config",
    "GatedResidualTokenizer": "framegate.models.gated_residual_tokenizer",
    "GatedTower": "framegate.models.gated_tower",
    "GatePlan": "framegate.tokenizers.gate.plan",
    "GateConfig": "framegate.tokenizers.gate.config",
    "Report": "framegate.report",
    "SceneMerge": "framegate.models.stages.scene_merge.merge",
    "SpatiotemporalModule": "framegate.models.stages.spatiotemporal.module",
    "TimestampInterleaver": "framegate.models.timestamp_interleaver",
    "TokenSelect": "framegate.models.stages.select.stage",
    "VariableCondensation": "framegate.models.stages.condensation.condense",
    "VideoInfo": "framegate.types",
    "attach": "framegate.api",
    "from_pretrained": "framegate.api",
    "front_end_of": "framegate.api",
    "gate_stream": "framegate.api",
    "gate_tower": "framegate.api",
    "load_config": "framegate.configs.loader",
    "load_finetuned": "framegate.tools.training",
    "open_session": "framegate.api",
    "open_video": "framegate.tokenizers.clip",
    "plan_frames": "framegate.api",
    "plan_video": "framegate.api",
    "preset_names": "framegate.configs.loader",
    "read_shards": "framegate.tools.batch",
    "supported_models": "framegate.api",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604, PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'framegate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
