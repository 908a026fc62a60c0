"""Data sets on bad days: workers that are killed, a disk that is full, and Ray beside the local loop."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import active_children

import numpy as np
import pytest
from clips import gradient_frames, write_clip

from framegate.tools.batch import Job, read_shards, run_batch

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow

JOB = Job(overrides={"keep_ratio": 0.5})
NAMES = [f"{number:02}.mp4" for number in range(12)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Twelve videos, one of them no video."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(NAMES):
        write_clip(folder / name, gradient_frames(6 + number, height_px=64, width_px=96))
    (folder / "05.mp4").write_bytes(b"no video")
    return folder


def run(videos, out, **settings):
    return run_batch(str(videos), JOB, out, show_progress=False, **settings)


def check_whole(out):
    rows = list(read_shards(out))
    assert sorted(row["id"] for row in rows) == NAMES
    assert {row["id"] for row in rows if row["status"] == "error"} == {"05.mp4"}
    return rows


def killed(done, *, always=False):
    """Kill a process of this one's pool, or all that ever start, until an event is set."""
    while not done.is_set():
        for child in active_children():
            os.kill(child.pid, signal.SIGKILL)
            if not always:
                return
        time.sleep(0.05)


def test_a_worker_that_is_killed_costs_no_row_and_doubles_none(videos, tmp_path):
    done = threading.Event()
    killer = threading.Thread(target=killed, args=(done,))
    killer.start()
    assert run(videos, tmp_path / "out", workers=2, shard_videos=2).made == 12
    done.set()
    killer.join()
    check_whole(tmp_path / "out")


def test_a_video_that_kills_whoever_reads_it_is_a_row_of_its_own(videos, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    for name in NAMES[:2]:
        (one / name).symlink_to(videos / name)
    done = threading.Event()
    killer = threading.Thread(target=killed, args=(done,), kwargs={"always": True})
    killer.start()
    rows = run(one, tmp_path / "out", workers=1, shard_videos=2).shards
    done.set()
    killer.join()
    assert sorted(row["id"] for row in rows) == NAMES[:2]
    assert all(row["error"].startswith("WorkerDied: ") for row in rows)


def framegate(*arguments, file_bytes=None):
    """The command, in a process that may write files of so many bytes."""

    def limit():
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    command = [sys.executable, "-c", "from framegate.cli import app; app()", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, preexec_fn=limit, **pipes)


def test_a_run_that_is_killed_whole_goes_on_and_costs_the_shards_in_flight_alone(videos, tmp_path):
    out = tmp_path / "out"
    told = ("batch", videos, "--out", out, "--keep-ratio", 0.5, "--workers", 0, "--shard-videos", 1)
    first = framegate(*told)
    while not (out / "shard-000002.parquet").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    first.kill()
    first.wait()
    kept = len(read_shards(out))
    assert kept >= 2
    second = framegate(*told, "--json")
    answer, problem = second.communicate()
    assert second.returncode == 0, problem
    assert f'"made": {12 - kept}' in answer
    check_whole(out)


def test_a_disk_without_room_ends_the_run_with_a_word_and_nothing_is_lost(videos, tmp_path):
    out = tmp_path / "out"
    told = ("batch", videos, "--out", out, "--keep-ratio", 0.5, "--workers", 0, "--shard-videos", 1)
    # the manifest's header fits, a shard does not
    full = framegate(*told, file_bytes=3000)
    _, problem = full.communicate()
    assert full.returncode == 2
    assert "run the same command again" in problem
    assert not list(out.glob("*.part"))
    assert len(read_shards(out)) == 0
    assert run(videos, out, workers=0).made == 12
    check_whole(out)


@pytest.fixture(scope="module")
def ray():
    found = pytest.importorskip("ray")
    found.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    yield found
    found.shutdown()


def same(one, other):
    plans = one.pop("plan", None), other.pop("plan", None)
    assert one == other
    if plans[0] is not None:
        assert np.array_equal(plans[0].keep, plans[1].keep)
        assert np.array_equal(plans[0].frames.indices, plans[1].frames.indices)


def by_id(rows):
    return sorted(rows, key=lambda row: row["id"])


def test_ray_gives_the_rows_of_the_local_loop(ray, videos, tmp_path):
    run(videos, tmp_path / "local", workers=0)
    run(videos, tmp_path / "ray", engine="ray", workers=2, shard_videos=2)
    rows = check_whole(tmp_path / "ray")
    for one, other in zip(by_id(read_shards(tmp_path / "local")), by_id(rows), strict=True):
        same(one, other)
    assert run(videos, tmp_path / "ray", engine="ray", workers=2).made == 0


def test_a_worker_of_ray_that_is_killed_costs_no_row_and_doubles_none(ray, videos, tmp_path):
    import psutil

    def kill():
        while not done.is_set():
            for process in psutil.process_iter(["cmdline"]):
                if any("_Read" in part for part in process.info["cmdline"] or ()):
                    process.kill()
                    return
            time.sleep(0.05)

    done = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    run(videos, tmp_path / "out", engine="ray", workers=2, shard_videos=1)
    done.set()
    killer.join()
    check_whole(tmp_path / "out")


def test_answers_by_ray_in_two_stages(ray, videos, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("\n".join(str(videos / name) for name in NAMES[:2]))
    job = Job(output="answers", question="What moves?", overrides={"keep_ratio": 0.5}, max_new_tokens=2)
    settings = {"show_progress": False, "shard_videos": 1}
    local = run_batch(str(few), job, tmp_path / "local", workers=0, **settings).shards
    other = run_batch(str(few), job, tmp_path / "ray", engine="ray", **settings).shards
    assert by_id(local) == by_id(other)
