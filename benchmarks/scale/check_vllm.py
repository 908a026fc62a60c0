"""Does the vLLM plug-in do on a server what it does beside one? Needs a GPU, framegate[vllm] and a Qwen3-VL folder.

    python benchmarks/scale/check_vllm.py --model FOLDER

It has not run yet: until its CSV is committed the plug-in counts as untested. It starts vLLM twice, with its own video
loader and with framegate's, asks both about the clips that ship, temperature 0, and checks of framegate's server that
    1. a prompt has as many tokens as transformers' processor makes of the frames of framegate's plan, with their times;
    2. a request beyond a cap is a 400 that names it, and the server answers the next one;
    3. answers are those of transformers' generate on these inputs: a column, for rounding may change one.
Writes benchmarks/scale/results/vllm.csv; exits with 1 where 1 or 2 fail.
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
LOADERS = {"stock": {}, "framegate": {"video_backend": "framegate", **FRAMES}}
PORT, ANSWER_TOKENS, START_SECONDS = 8741, 32, 900


@contextmanager
def served(model, loader):
    """A vLLM server with a loader, once it answers."""
    command = ["vllm", "serve", model, "--port", str(PORT), "--max-model-len", "16384", "--enforce-eager"]
    command += ["--allowed-local-media-path", str(resources.files("framegate") / "assets")]
    command += ["--media-io-kwargs", json.dumps({"video": LOADERS[loader]})]
    process = subprocess.Popen(command, env=os.environ | {"FRAMEGATE_VLLM_CAPS": '{"cap_seconds": 60}'})
    try:
        until = time.monotonic() + START_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"vLLM did not start with the {loader} loader")
            time.sleep(2)
        yield
    finally:
        process.terminate()
        process.wait()


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


def beside(model):
    """What transformers makes of the same frames: tokens of each prompt, and answers."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from framegate.tools.vllm.frames import read_video, served_caps

    processor = AutoProcessor.from_pretrained(model)
    dense = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.bfloat16, device_map="cuda")
    found = []
    for clip, question in ASKED:
        data = (resources.files("framegate") / "assets" / clip).read_bytes()
        frames, metadata = read_video(data, FRAMES, served_caps(None))
        metadata.pop("do_sample_frames")
        content = [{"type": "video"}, {"type": "text", "text": question}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        inputs = processor(
            text=[text],
            videos=[frames],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_tensors="pt",
        ).to("cuda")
        ids = dense.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        length = inputs["input_ids"].shape[1]
        found.append((processor.decode(ids[0, length:], skip_special_tokens=True), length))
    del dense
    torch.cuda.empty_cache()
    return found


def main():
    """Ask, compare, and write the CSV."""
    import openai
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/vllm.csv")
    options = parser.parse_args()
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0)
    expected, rows, fails = beside(options.model), [], []
    for loader in LOADERS:
        with served(options.model, loader):
            for (clip, question), (answer, tokens) in zip(ASKED, expected, strict=True):
                got, prompt_tokens = ask(client, options.model, clip, question)
                rows.append(
                    {
                        "loader": loader,
                        "clip": clip,
                        "question": question,
                        "answer": got,
                        "prompt_tokens": prompt_tokens,
                        "of_transformers": answer,
                        "tokens_of_transformers": tokens,
                        "same_answer": got.strip() == answer.strip(),
                    }
                    | environment(torch.cuda.get_device_name())
                )
                print(rows[-1])
                if loader == "framegate" and prompt_tokens != tokens:
                    fails.append(f"{clip}: {prompt_tokens} tokens of prompt, and transformers makes {tokens}")
            if loader == "framegate":
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
