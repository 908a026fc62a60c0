"""Time to the first token of `framegate serve` beside stock `transformers serve`: 20 requests at once, in turns.

    python benchmarks/scale/bench_serve.py --model FOLDER          (needs framegate[serve])

Both servers run the same checkpoint in a process of their own and are asked for 32 frames of the same clip, which comes
as a data: address, by OpenAI's client, streamed. Without --model it is framegate/nano: the stock server then reads the
video by the same processor with nothing reduced. Writes benchmarks/scale/results/serve.csv.
"""

import argparse
import base64
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

REQUESTS = 20
SERVE = "from framegate.cli import app; app()"
COMMANDS = {
    "stock": [sys.executable, "-m", "transformers.cli.transformers", "serve"],
    "framegate": [sys.executable, "-c", SERVE, "serve", "--keep-ratio", "0.25", "--model"],
}


@contextmanager
def served(name, model):
    """The address of a server in a process of its own, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*COMMANDS[name], model, "--port", str(port)])
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def first_token_seconds(client, model, url):
    """From the request to the first piece of the answer."""
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "What moves?"}]
    began = time.perf_counter()
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        max_tokens=8,
        stream=True,
        extra_body={"chat_template_kwargs": {"num_frames": 32}},
    )
    first = None
    for part in stream:
        if first is None and part.choices and part.choices[0].delta.content:
            first = time.perf_counter() - began
    return first


def main():
    """Ask both servers, and write the CSV."""
    import openai

    from framegate.models.nano import NANO, shipped_folder

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=NANO)
    parser.add_argument("--video", type=Path, default=resources.files("framegate") / "assets/slides.mp4")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/serve.csv")
    options = parser.parse_args()
    model = str(shipped_folder(options.model))
    url = f"data:video/mp4;base64,{base64.b64encode(options.video.read_bytes()).decode()}"
    rows = []
    for name in COMMANDS:
        with served(name, model) as address, ThreadPoolExecutor(REQUESTS) as pool:
            client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=600)
            first_token_seconds(client, model, url)  # what is imported and compiled late
            times = list(pool.map(lambda _, to=client: first_token_seconds(to, model, url), range(REQUESTS)))
        answered = [spent for spent in times if spent is not None]
        rows.append(
            {
                "server": name,
                "requests": REQUESTS,
                "answered": len(answered),
                "p50_first_token_seconds": round(statistics.median(answered), 3),
                "slowest_seconds": round(max(answered), 3),
            }
            | environment()
        )
        print(rows[-1])
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
