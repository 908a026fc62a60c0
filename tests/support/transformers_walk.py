"""What of transformers reads videos, found in its files: no model is imported."""

import ast
import re
from pathlib import Path

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

MODELS = Path(transformers.__file__).parent / "models"


def names_defined():
    """Names of the classes of all modeling files."""
    sources = (path.read_text() for path in MODELS.glob("*/modeling_*.py"))
    return {name for source in sources for name in re.findall(r"^ *class (\w+)", source, flags=re.MULTILINE)}


def _has_video_features(cls):
    """Also where the method stands under a condition."""
    names = (node.name for node in ast.walk(cls) if isinstance(node, ast.FunctionDef))
    return "get_video_features" in names


def _reads_pixels(cls):
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "forward":
            return any(argument.arg == "pixel_values_videos" for argument in node.args.args)
    return False


def video_classes(source):
    """Classes of a modeling file that write text about videos, else those that give features of videos."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    generative = [
        node for node in classes if any("GenerationMixin" in ast.unparse(base) for base in node.bases)
    ]
    found = [node.name for node in generative if _has_video_features(node) or _reads_pixels(node)]
    return found or [node.name for node in classes if _has_video_features(node)]


def video_classes_of_transformers():
    """Names of all classes that read videos and write text, or have `get_video_features` and no such class beside."""
    found = set()
    for path in MODELS.glob("*/modeling_*.py"):
        source = path.read_text()
        if "get_video_features" in source or "pixel_values_videos" in source:
            found.update(video_classes(source))
    # frames as pictures: the class tells nothing, its processor does
    for model_type, name in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.items():
        parts = [*(MODELS / model_type).glob("processing_*.py"), *(MODELS / model_type).glob("modeling_*.py")]
        if model_type in VIDEO_PROCESSOR_MAPPING_NAMES and any("video" in part.read_text() for part in parts):
            found.add(name)
    return found
