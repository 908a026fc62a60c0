"""The lmms-eval plug-in against a stub of its base class: lmms-eval's wheel and ours want different PyAV."""

import importlib
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest
from benchmark import question, write_benchmark

import framegate
from framegate.errors import ConfigError
from framegate.models.tiny import tiny_pair
from framegate.tools.evaluation import lmms_eval
from framegate.tools.evaluation.ask import ask
from framegate.tools.evaluation.lmms_eval import first_stop, hf_messages


@dataclass
class TokenCounts:
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


@dataclass
class Cache:
    seen: list = field(default_factory=list)

    def add_partial(self, *call):
        self.seen.append(call)


class Base:
    is_simple = True

    def __init__(self):
        self.cache_hook, self.task_dict = Cache(), {}

    @staticmethod
    def _resolve_system_prompt(value):
        return value


@pytest.fixture
def stub(monkeypatch):
    """The four modules that the plug-in imports, with what it takes from them."""
    modules = {
        "lmms_eval.api.model": {"lmms": Base},
        "lmms_eval.api.instance": {"GenerationResult": GenerationResult, "TokenCounts": TokenCounts},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    }
    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.models", *modules):
        module = ModuleType(name)
        vars(module).update(modules.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "framegate.tools.evaluation.lmms_eval_model", raising=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in tiny_pair("qwen3_vl"):
        part.save_pretrained(folder)
    return folder


def model_class():
    module, _, name = lmms_eval.manifest().chat_class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def messages(document):
    shown = {"type": "video", "url": document["path"]}
    return [{"role": "user", "content": [shown, {"type": "text", "text": document["question"]}]}]


def request(number=0, **settings):
    return SimpleNamespace(
        args=("context", messages, {"max_new_tokens": 3} | settings, number, "task", "test")
    )


def test_the_manifest_names_a_chat_model(stub):
    found = lmms_eval.manifest()
    assert (found.model_id, found.simple_class_path) == ("framegate", None)
    assert issubclass(model_class(), Base)
    assert model_class().is_simple is False


def test_without_lmms_eval_nothing_but_the_plug_in_needs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmms_eval", None)
    with pytest.raises(ImportError):
        lmms_eval.manifest()


def test_answers_are_those_of_framegate(stub, checkpoint, tmp_path):
    folder = write_benchmark(tmp_path / "data", [question(0)])
    path = str(folder / "videos" / "v0.mp4")
    loaded = model_class()(str(checkpoint), keep_ratio=0.5, fps=4, device="cpu", batch_size="1")
    loaded.task_dict = {
        "task": {"test": [{"path": path, "question": "What?"}, {"path": path, "question": "Why?"}]}
    }
    found = loaded.generate_until([request(1), request(0, until=["\n\n"], temperature=0, top_p=0.9)])
    assert len(loaded.cache_hook.seen) == 2
    model, processor = framegate.from_pretrained(
        checkpoint, framegate.load_config("framegate", keep_ratio=0.5, fps=4)
    )
    for result, asked in zip(found, ("Why?", "What?"), strict=True):
        alone = ask(model, processor, video=path, question=asked, max_new_tokens=3)
        assert result.text.strip() == alone.text
        assert result.token_counts == TokenCounts(alone.input_tokens, alone.output_tokens)
    assert framegate.front_end_of(loaded.model).report.keep_ratio == 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"batch_size": 2}, "batch_size is 2"), ({"keep_ratoi": 1}, "keep_ratio"), ({"preset": "gaet"}, "gaet")],
)
def test_mistakes_are_told_before_a_model_is_loaded(stub, settings, words):
    with pytest.raises(ConfigError, match=words):
        model_class()("no/such/model", **settings)


def test_several_processes_are_refused(stub, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        model_class()("no/such/model")


def test_sampling_is_the_tasks(stub):
    model_class()
    generation = sys.modules["framegate.tools.evaluation.lmms_eval_model"]._generation
    greedy = {"max_new_tokens": 128, "num_beams": 1, "do_sample": False}
    assert generation({"temperature": 0, "top_p": 0.5}) == greedy
    assert generation({"temperature": 0.7, "do_sample": False}) == greedy
    assert generation({"temperature": 0.7, "top_p": None, "max_new_tokens": 9, "until": ["a"]}) == {
        "max_new_tokens": 9, "num_beams": 1, "do_sample": True, "temperature": 0.7,
    }  # fmt: skip


def test_messages_are_translated():
    part = {"type": "video", "url": "a.mp4", "start_time": 1.0, "end_time": None}
    turns = [
        {"role": "system", "content": [{"type": "text", "text": "old"}]},
        {
            "role": "user",
            "content": [part, {"type": "image", "url": "picture"}, {"type": "text", "text": "?"}],
        },
    ]
    user = [
        {"type": "video", "path": "a.mp4", "video_start": 1.0},
        {"type": "image", "image": "picture"},
        {"type": "text", "text": "?"},
    ]
    assert hf_messages(turns)[1] == {"role": "user", "content": user}
    assert hf_messages(turns, "new")[0]["content"] == [{"type": "text", "text": "new"}]
    assert len(hf_messages(turns, "new")) == 2
    for wrong, words in (({"type": "audio", "url": "a"}, "'audio'"), ({"type": "video", "url": [1]}, "list")):
        with pytest.raises(ConfigError, match=words):
            hf_messages([{"role": "user", "content": [wrong]}])


def test_answers_end_at_the_first_stop():
    assert first_stop("one\n\ntwo. three", [". ", "\n\n"]) == "one"
    assert first_stop("one", "\n") == first_stop("one", None) == first_stop("one", [""]) == "one"
