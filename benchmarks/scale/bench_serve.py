"""Time to the first token of `framegate serve` beside stock `transformers serve`: 20 requests at once, in turns.

    python benchmarks/scale/bench_serve.py --model FOLDER          (needs framegate[serve], openai and torchcodec)

Both servers run the same checkpoint, each in a process of its own, and are asked for 2 frames a second of the same clip
by OpenAI's client, streamed; one is asked while the other waits, in turns. Without --model it is framegate/nano. The
stock server of transformers 5.24 takes no data: addresses of videos, asks for 32 frames beside the checkpoint's own
rate, which its processor refuses, and opens the sound of every video, which fails where there is none: so the request
names the clip by its path and its rate, and the clip gets a silent track. Writes benchmarks/scale/results/serve.csv.
"""

import argparse
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

REQUESTS, ROUNDS = 20, 3
SERVE = "from framegate.cli import app; app()"
COMMANDS = {
    "stock": [sys.executable, "-m", "transformers.cli.transformers", "serve"],
    "framegate": [sys.executable, "-c", SERVE, "serve", "--allow-local", "--keep-ratio", "0.25", "--model"],
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


def add_silence(video, path):
    """Write a clip as an mp4 with a silent track."""
    import av
    import numpy as np

    with av.open(str(video)) as clip, av.open(str(path), "w") as sounding:
        pictures = sounding.add_stream_from_template(clip.streams.video[0])
        sound = sounding.add_stream("aac", rate=16000)
        for packet in clip.demux(clip.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                sounding.mux(packet)
        silence = np.zeros((1, int(clip.duration / av.time_base * 16000)), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in (*sound.encode(frame), *sound.encode()):
            sounding.mux(packet)


def first_token_seconds(client, model, url):
    """From the request to the first piece of the answer."""
    content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "What moves?"}]
    began = time.perf_counter()
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        max_tokens=8,
        stream=True,
        extra_body={"chat_template_kwargs": {"num_frames": None, "fps": 2.0}},
    )
    first = None
    for part in stream:
        if first is None and part.choices and part.choices[0].delta.content:
            first = time.perf_counter() - began
    return first


def rows_of(times, *, clip, rounds):
    """A row for each server, of what its requests took until their first token; None did not answer."""
    medians = {
        name: statistics.median(spent for spent in all_spent if spent is not None)
        for name, all_spent in times.items()
    }
    return [
        {
            "server": name,
            "clip": clip,
            "at_once": REQUESTS,
            "rounds": rounds,
            "requests": len(spent),
            "answered": sum(one is not None for one in spent),
            "p50_first_token_seconds": round(medians[name], 3),
            "of_stock": round(medians[name] / medians["stock"], 3),
            "slowest_seconds": round(max(one for one in spent if one is not None), 3),
            "load_average": round(os.getloadavg()[2], 1),
        }
        | environment()
        | {"command": shlex.join(["python", "benchmarks/scale/bench_serve.py", *sys.argv[1:]])}
        for name, spent in times.items()
    ]


def main():
    """Ask both servers, and write the CSV."""
    import openai

    from framegate.models.nano import NANO, shipped_folder

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=NANO)
    parser.add_argument("--video", type=Path, default=resources.files("framegate") / "assets/slides.mp4")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/serve.csv")
    options = parser.parse_args()
    model = str(shipped_folder(options.model))
    times = {name: [] for name in COMMANDS}
    with ExitStack() as running:
        url = str(Path(running.enter_context(tempfile.TemporaryDirectory())) / "clip.mp4")
        add_silence(options.video, url)
        clients = {
            name: openai.OpenAI(
                base_url=running.enter_context(served(name, model)),
                api_key="none",
                max_retries=0,
                timeout=600,
            )
            for name in COMMANDS
        }
        for client in clients.values():
            first_token_seconds(client, model, url)  # what is imported and compiled late
        pool = running.enter_context(ThreadPoolExecutor(REQUESTS))
        for _ in range(options.rounds):
            for name, client in clients.items():
                times[name] += pool.map(
                    lambda _, to=client: first_token_seconds(to, model, url), range(REQUESTS)
                )
    rows = rows_of(times, clip=options.video.name, rounds=options.rounds)
    for row in rows:
        print(row)
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
