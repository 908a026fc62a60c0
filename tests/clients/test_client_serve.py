"""The server of `transformers serve` in front of an attached pair."""

import base64
import importlib.util
import json
import socket
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch.nn.modules.module import register_module_forward_hook
from transformers.utils import import_utils

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients
EXAMPLE = Path(__file__).parents[2] / "examples/serve.py"


@pytest.fixture(scope="module", autouse=True)
def serving():
    pytest.importorskip("transformers.cli.serving")
    if not import_utils.is_serve_available():
        pytest.skip("transformers[serving] is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory, serving):
    """Address of a server with an attached checkpoint, and the checkpoint's folder."""
    import uvicorn

    folder = tmp_path_factory.mktemp("checkpoint")
    model, processor = tiny_pair("qwen2_5_vl")
    with framegate.attach(model, processor, keep_ratio=0.5):
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    spec = importlib.util.spec_from_file_location("serve_example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = example
    spec.loader.exec_module(example)
    app = example.attached_server(str(folder), folder, device="cpu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}", folder
    server.should_exit = True
    thread.join(10)


def asked(address, block, **more):
    content = [block, {"type": "text", "text": "What moves?"}]
    body = {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 4,
        "temperature": 0.0,
        **more,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


@contextmanager
def prompt_lengths():
    """Columns that language models of this process read, call by call."""
    found = []

    def note(module, _, given, __):
        if type(module).__name__ == "Qwen2_5_VLTextModel":
            found.append(given["inputs_embeds"].shape[1])

    handle = register_module_forward_hook(note, with_kwargs=True)
    yield found
    handle.remove()


def test_it_answers_what_generate_answers(served, clip):
    address, folder = served
    model, processor = framegate.from_pretrained(folder)
    messages = [
        {
            "role": "user",
            "content": [{"type": "video", "url": str(clip)}, {"type": "text", "text": "What moves?"}],
        }
    ]
    inputs = processor.apply_chat_template(
        messages,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        num_frames=32,
    )
    ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    want = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    report = framegate.front_end_of(model).report
    assert report.keep_ratio == pytest.approx(0.5, abs=0.02)
    data = f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"
    for url in (str(clip), clip.as_uri(), data):
        with prompt_lengths() as read:
            answer = json.loads(asked(address, {"type": "video_url", "video_url": {"url": url}}))
        assert answer["choices"][0]["message"]["content"] == want
        assert answer["usage"]["prompt_tokens"] == inputs["input_ids"].shape[1]
        assert read[0] == inputs["input_ids"].shape[1] - report.dense_tokens + report.kept_tokens
    streamed = asked(address, {"type": "video_url", "video_url": {"url": str(clip)}}, stream=True)
    parts = [
        json.loads(line.removeprefix("data: "))
        for line in streamed.splitlines()
        if line.startswith("data: {")
    ]
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in parts) == want
