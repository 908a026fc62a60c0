"""Does the vLLM plug-in do on a server what transformers and framegate do? Needs vLLM and a Qwen3-VL folder.

    python benchmarks/scale/check_vllm.py --model FOLDER

It starts vLLM once for each of SERVERS: its own video loader, framegate's, and framegate's with the gate in front of
the tower, by three kinds of settings; asks each about the clips that ship, temperature 0, and checks of framegate's
    1. a prompt has as many tokens as transformers and framegate read of the same frames, with their times;
    2. a request beyond a cap is a 400 that names it, and the server answers the next one;
    3. answers are those of transformers' generate with the same front end: a column, for rounding may change one.
Writes benchmarks/scale/results/vllm.csv; exits with 1 where 1 or 2 fail. On a CPU everything is float32, and settings
that select tokens behind the tower are left out, for vLLM does not follow them there.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

FRAMES = {"fps": 2.0, "max_frames": 32}
ASKED = (
    ("codes.mp4", "What text stands at 4.9 seconds? Answer with the text alone."),
    ("codes.mp4", "What text stands at 1 second? Answer with the text alone."),
    ("slides.mp4", "Describe the video in one sentence."),
)
LOADER = {"video_backend": "framegate", **FRAMES}
ARCHITECTURE = "FramegateQwen3VLForConditionalGeneration"
# name -> loader, and settings of the gate; None for vLLM's own model
SERVERS = {
    "stock": ({}, None),
    "framegate loader": (LOADER, None),
    "gate, every shown cell read": (LOADER, {"tower_ratio": 0.25}),
    "gate, what changed read": (LOADER, {"preset": "gate", "keep_ratio": 0.25}),
    "gate and selection": (LOADER, {"keep_ratio": 0.25}),
}
PORT, ANSWER_TOKENS, START_SECONDS = 8741, 32, 900


@contextmanager
def served(model, loader, gate, device):
    """A vLLM server, once it answers."""
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model, "--port", str(PORT)]
    command += ["--max-model-len", "16384", "--enforce-eager", "--dtype", dtype_of(device)]
    # requests lower a cap, which vLLM takes from trusted callers alone
    command += ["--trust-request-mm-kwargs"]
    command += ["--allowed-local-media-path", str(resources.files("framegate") / "assets")]
    command += ["--media-io-kwargs", json.dumps({"video": loader})]
    if gate is not None:
        command += ["--hf-overrides", json.dumps({"architectures": [ARCHITECTURE], "framegate": gate})]
    if is_selecting(gate):
        command += ["--video-pruning-rate", str(1 - gate["keep_ratio"])]
    process = subprocess.Popen(command, env=os.environ | {"FRAMEGATE_VLLM_CAPS": '{"cap_seconds": 60}'})
    try:
        until = time.monotonic() + START_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"vLLM did not start: {' '.join(command)}")
            time.sleep(2)
        yield
    finally:
        process.terminate()
        process.wait()


def dtype_of(device):
    """Weights and features: bfloat16 on a GPU."""
    return "float32" if device == "cpu" else "bfloat16"


def is_selecting(gate):
    """True for settings whose tokens are chosen behind the tower."""
    from framegate.tools.vllm.settings import selects, served_config

    return gate is not None and selects(served_config(gate))


def is_up():
    """Tell whether the server answers."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health")
    except OSError:
        return False
    return True


def ask(client, model, clip, question, **media):
    """A server's answer, and the tokens of the prompt."""
    url = f"file://{resources.files('framegate') / 'assets' / clip}"
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": question}]
    done = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        max_tokens=ANSWER_TOKENS,
        temperature=0.0,
        extra_body={"media_io_kwargs": {"video": media}} if media else {},
    )
    return done.choices[0].message.content, done.usage.prompt_tokens


def beside(model, gates, device):
    """What transformers makes of the same frames, by settings: tokens that are read, and answers."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import framegate

    found = {}
    for name, gate in gates.items():
        processor = AutoProcessor.from_pretrained(model)
        own = AutoModelForImageTextToText.from_pretrained(
            model, dtype=getattr(torch, dtype_of(device)), device_map=device
        )
        front_end = None if gate is None else framegate.attach(own, processor, gate)
        found[name] = [answered(own, processor, front_end, *asked) for asked in ASKED]
        del own, front_end
        if device != "cpu":
            torch.cuda.empty_cache()
    return found


def answered(model, processor, front_end, clip, question):
    """An answer of transformers, and how many tokens of the prompt were read for it."""
    from framegate.tools.vllm.frames import read_video, served_caps

    data = (resources.files("framegate") / "assets" / clip).read_bytes()
    frames, metadata = read_video(data, FRAMES, served_caps(None))
    metadata.pop("do_sample_frames")
    content = [{"type": "video"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    inputs = processor(
        text=[text], videos=[frames], video_metadata=[metadata], do_sample_frames=False, return_tensors="pt"
    ).to(model.device)
    read = inputs if front_end is None else front_end.encode(**inputs).inputs
    ids = model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
    new = ids[0, inputs["input_ids"].shape[1] :]
    return processor.decode(new, skip_special_tokens=True), read["input_ids"].shape[1]


def options_of():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--server", action="append", choices=SERVERS, help="only these; all where none is named"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/vllm.csv")
    return parser.parse_args()


def main():
    """Ask, compare, and write the CSV."""
    import openai
    import torch
    import vllm

    options = options_of()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else None
    servers = {
        server: told
        for server, told in SERVERS.items()
        if server in (options.server or SERVERS) and (device == "cuda" or not is_selecting(told[1]))
    }
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0)
    expected = beside(options.model, {server: gate for server, (_, gate) in servers.items()}, device)
    rows, fails = [], []
    for server, (loader, gate) in servers.items():
        with served(options.model, loader, gate, device):
            for (clip, question), (answer, tokens) in zip(ASKED, expected[server], strict=True):
                got, prompt_tokens = ask(client, options.model, clip, question)
                rows.append(
                    {
                        "model": Path(options.model).name,
                        "server": server,
                        "clip": clip,
                        "question": question,
                        "answer": got,
                        "prompt_tokens": prompt_tokens,
                        "of_transformers": answer,
                        "tokens_of_transformers": tokens,
                        "same_answer": got.strip() == answer.strip(),
                        "vllm": vllm.__version__,
                    }
                    | environment(name)
                )
                print(rows[-1], flush=True)
                if loader and prompt_tokens != tokens:
                    fails.append(
                        f"{server}, {clip}: {prompt_tokens} tokens of prompt, and transformers reads {tokens}"
                    )
            if loader:
                fails += refusals(client, options.model)
    write_csv(options.out, rows)
    sys.exit("\n".join(fails) or 0)


def refusals(client, model):
    """What is wrong with the answer to a request beyond a cap, and with the one behind it."""
    import openai

    clip, question = ASKED[0]
    try:
        ask(client, model, clip, question, cap_frames=1)
    except openai.BadRequestError as error:
        ask(client, model, clip, question)
        return [] if "cap_frames is 1" in str(error) else [f"a request beyond a cap is told {error}"]
    return ["a request beyond a cap was answered"]


if __name__ == "__main__":
    main()
