"""The processor in an interpreter that has no torchvision; one subprocess serves all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clips import gradient_frames, write_clip
from tiny import FAMILIES, stock_processor
from tiny_llava import FAMILY as LLAVA
from tiny_llava import llava_processor

pytestmark = pytest.mark.floor

SUPPORT = Path(__file__).parents[1] / "support"

# transformers asks find_spec and the package metadata; an import has to fail as well.
WORKER = """
import importlib.util, json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchvision":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

stock_find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
    None if name.partition(".")[0] == "torchvision" else stock_find_spec(name, *rest)
)
sys.meta_path.insert(0, Blocked())

import framegate
from framegate.configs.loader import load_config
from framegate.models.tiny import chat_template, tiny_model, tiny_pair, tiny_tokenizer
from framegate.models.video_processor import attach_processor, build_processor, load_processor
from framegate.models.video_processor import torchvision_found

def stock_error(folder):
    from transformers import AutoProcessor
    try:
        AutoProcessor.from_pretrained(folder)
    except ImportError as error:
        # some releases name the module that they could not import, and torchvision in the cause alone
        told = [error]
        while told[-1].__cause__ is not None:
            told.append(told[-1].__cause__)
        return " ".join(map(str, told))

def ask(processor, clip, **settings):
    content = [{"type": "video", "path": clip, "video_end": 4.0}, {"type": "text", "text": "What moves?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt",
        processor_kwargs=settings,
    )
    return {
        "keys": sorted(inputs),
        "grid": inputs["video_grid_thw"].tolist() if "video_grid_thw" in inputs else None,
        "placeholders": int((inputs["input_ids"] == processor.video_token_id).sum()),
        "rows": len(inputs["pixel_values_videos"]),
        "class": type(processor).__name__,
    }

root, clip = Path(sys.argv[1]), sys.argv[2]
found = {"torchvision_found": torchvision_found()}
for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
    loaded = load_processor(root / family)
    results = {"stock_error": stock_error(root / family), "dense": ask(loaded, clip, fps=2)}
    results["legacy"] = ask(load_processor(root / (family + "-legacy"), family), clip, fps=2)
    attachment = attach_processor(loaded, family, load_config("gate", keep_ratio=0.5).plan)
    results["gated"] = ask(loaded, clip, fps=2)
    loaded.save_pretrained(root / (family + "-saved"))
    attachment.detach()
    results["detached"] = ask(loaded, clip, fps=2)
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24}
    built = build_processor(family, tiny_tokenizer(), chat_template=chat_template(family), size=size)
    results["built"] = ask(built, clip, fps=2)
    found[family] = results
# a family whose stock processor takes frames instead of patches
loaded = load_processor(root / "llava_onevision", "llava_onevision")
results = {"dense": ask(loaded, clip)}
with framegate.attach(tiny_model("llava_onevision"), loaded, "gate", keep_ratio=0.5):
    results["gated"] = ask(loaded, clip)
results["built"] = ask(tiny_pair("llava_onevision")[1], clip)
found["llava_onevision"] = results
found["imported"] = "torchvision" in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folders written by the stock processors, as of today and as older checkpoints have them."""
    folder = tmp_path_factory.mktemp("processors")
    for family in FAMILIES:
        stock_processor(family).save_pretrained(folder / family)
        stock_processor(family).save_pretrained(folder / f"{family}-legacy")
        _make_legacy(folder / f"{family}-legacy")
    llava_processor().save_pretrained(folder / LLAVA)
    return folder


def _make_legacy(folder):
    parts = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(parts["image_processor"]))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(parts["video_processor"]))


@pytest.fixture(scope="module")
def found(root):
    clip = write_clip(root / "clip.mp4", gradient_frames(60, height_px=96, width_px=128))
    paths = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(root), str(clip)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_worker_really_has_no_torchvision(found):
    assert not found["torchvision_found"]
    assert not found["imported"]
    assert all("orchvision" in found[family]["stock_error"] for family in FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["dense", "legacy", "gated", "detached", "built"])
def test_a_path_goes_through_the_chat_template(found, family, way):
    asked = found[family][way]
    ((tubes, rows, columns),) = asked["grid"]
    assert tubes == 4
    assert asked["placeholders"] == tubes * rows * columns // 4
    assert asked["rows"] == 4 * asked["placeholders"] // (2 if way == "gated" else 1)
    assert ("framegate_plan" in asked["keys"]) == (way == "gated")
    assert asked["class"] == type(stock_processor(family)).__name__


@pytest.mark.parametrize("way", ["dense", "gated", "built"])
def test_a_path_goes_to_a_family_of_frames(found, way):
    asked = found[LLAVA][way]
    # where nothing is reduced, all frames of the window, as the stock processor takes them
    assert asked["placeholders"] == (8 if way == "gated" else 40) * 16 + 1
    assert asked["class"] == "LlavaOnevisionProcessor"
    assert ("framegate_plan" in asked["keys"]) == ("framegate_notes" in asked["keys"])
    assert ("framegate_plan" in asked["keys"]) == (way == "gated")


@pytest.mark.parametrize("family", FAMILIES)
def test_old_and_new_folders_are_read_alike(found, family):
    assert found[family]["legacy"] == found[family]["dense"] == found[family]["detached"]


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_opens_what_was_saved(found, root, family):
    from transformers import AutoProcessor

    reopened, stock = AutoProcessor.from_pretrained(root / f"{family}-saved"), stock_processor(family)
    assert type(reopened) is type(stock)
    assert type(reopened.video_processor) is type(stock.video_processor)
    assert type(reopened.image_processor) is type(stock.image_processor)
    saved, original = (
        json.loads((root / name / "processor_config.json").read_text())
        for name in (f"{family}-saved", family)
    )
    assert saved["video_processor"] == original["video_processor"]
    assert reopened.chat_template == stock.chat_template
