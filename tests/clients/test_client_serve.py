"""`framegate serve`: the server of `transformers serve` in front of an attached pair, asked by OpenAI's own client."""

import base64
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from torch.nn.modules.module import register_module_forward_hook
from transformers.utils import import_utils

import framegate
from framegate.models.tiny import tiny_pair
from framegate.tools.serve import attached_app

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    pytest.importorskip("transformers.cli.serving")
    if not import_utils.is_serve_available():
        pytest.skip("transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("checkpoint")
    model, processor = tiny_pair("qwen2_5_vl")
    with framegate.attach(model, processor, keep_ratio=0.5):
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


@contextmanager
def running(app):
    """The address of a server."""
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def served(checkpoint):
    """A server that opens what a request names on this machine, and the checkpoint's folder."""
    caps = {"cap_frames": 12, "cap_bytes": 1 << 20}
    app = attached_app(str(checkpoint), checkpoint, device="cpu", allow_local=True, **caps)
    with running(app) as address:
        yield address, checkpoint


@pytest.fixture(scope="module")
def guarded(checkpoint):
    """A server as it is by default, and a client of it."""
    openai = pytest.importorskip("openai")
    with running(attached_app(str(checkpoint), checkpoint, device="cpu")) as address:
        yield openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0), str(checkpoint)


def data_address(clip):
    return f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"


def chat(client, model, block, **more):
    content = [block, {"type": "text", "text": "What moves?"}]
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(
        model=model, messages=messages, max_tokens=4, temperature=0.0, **more
    )


def video(url):
    return {"type": "video_url", "video_url": {"url": url}}


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
    )
    ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    want = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    report = framegate.front_end_of(model).report
    assert report.keep_ratio == pytest.approx(0.5, abs=0.02)
    for url in (str(clip), clip.as_uri(), data_address(clip)):
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


def test_openais_client_asks_whole_streamed_and_twenty_at_a_time(guarded, clip):
    client, model = guarded
    block = video(data_address(clip))
    whole = chat(client, model, block)
    assert whole.usage.completion_tokens == 4
    parts = [part.choices[0].delta.content or "" for part in chat(client, model, block, stream=True)]
    assert "".join(parts) == whole.choices[0].message.content
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: chat(client, model, block), range(20)))
    assert {answer.choices[0].message.content for answer in answers} == {whole.choices[0].message.content}


def test_what_callers_may_not_is_a_4xx_that_names_the_cap(guarded, clip):
    import openai

    client, model = guarded
    picture = {"type": "image_url", "image_url": {"url": "/etc/hostname"}}
    for block in (video(str(clip)), video(clip.as_uri()), video(f"{client.base_url}a.mp4"), picture):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            chat(client, model, block)
        assert refused.value.code == "public_only"
    # a caller lowers the cap of its own request
    settings = {"chat_template_kwargs": {"cap_frames": 3}}
    with pytest.raises(openai.APIStatusError, match="and cap_frames is 3") as refused:
        chat(client, model, video(data_address(clip)), extra_body=settings)
    assert (refused.value.status_code, refused.value.code) == (413, "cap_frames")
    pictures = {"chat_template_kwargs": {"processor_kwargs": {"images": ["/etc/hostname"]}}}
    with pytest.raises(openai.BadRequestError, match="holds 'processor_kwargs'; a request may set fps"):
        chat(client, model, video(data_address(clip)), extra_body=pictures)
    with pytest.raises(openai.BadRequestError, match="cannot be opened as a video"):
        chat(client, model, video("data:video/mp4;base64,AAAA"))


def test_a_request_beyond_the_servers_caps(served, clip):
    address, _ = served
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(address, video(str(clip)), chat_template_kwargs={"fps": 10, "cap_frames": 1000})
    assert refused.value.code == 413
    assert json.load(refused.value)["error"]["code"] == "cap_frames"
    # by its header alone: the body is never sent
    for length, status in ((3 << 20, 413), (None, 411), ("chunked", 411)):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
        connection.putrequest("POST", "/v1/chat/completions")
        if length == "chunked":
            connection.putheader("Transfer-Encoding", "chunked")
        if length is not None:
            connection.putheader("Content-Length", "10" if length == "chunked" else str(length))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == status
        assert json.load(answer)["error"]["code"] == "cap_bytes"
        connection.close()
    for path in ("/load_model", "/reset"):
        request = urllib.request.Request(f"{address}{path}", b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(request)
