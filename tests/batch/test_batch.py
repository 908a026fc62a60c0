"""Data sets: every video of an input has one row in the shards, whatever happens on the way."""

import errno
import os

import numpy as np
import pytest
from clips import gradient_frames, write_clip

import framegate
from framegate.errors import ConfigError, OutputError
from framegate.tools.batch import Job, read_shards, run_batch
from framegate.tools.batch.items import read_items

pytest.importorskip("pyarrow")

JOB = Job(overrides={"keep_ratio": 0.5})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips in two folders, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.mp4", "b.mp4", "more/c.mp4")):
        write_clip(folder / name, gradient_frames(6 + number, height_px=64, width_px=96))
    (folder / "broken.mp4").write_bytes(b"this is no video, whatever its name")
    return folder


def run(source, out, job=JOB, **settings):
    return run_batch(str(source), job, out, workers=0, show_progress=False, **settings)


def test_inputs_are_folders_globs_and_manifests(videos, tmp_path):
    assert [item.id for item in read_items(str(videos))] == ["a.mp4", "b.mp4", "broken.mp4", "more/c.mp4"]
    assert [item.path for item in read_items(f"{videos}/[ab].mp4")] == [f"{videos}/a.mp4", f"{videos}/b.mp4"]
    lines = tmp_path / "m.jsonl"
    lines.write_text('{"path": "x.mp4"}\n\n{"path": "http://h/y.mp4", "id": "y", "end_seconds": 2}\n')
    first, second = read_items(str(lines))
    assert (first.path, first.id) == (str(tmp_path / "x.mp4"), "x.mp4")
    assert (second.path, second.id, second.end_seconds) == ("http://h/y.mp4", "y", 2)
    table = tmp_path / "m.csv"
    table.write_text("path,question,start_seconds\nx.mp4,What?,1.5\ny.mp4,,\n")
    assert [(one.question, one.start_seconds) for one in read_items(str(table))] == [
        ("What?", 1.5),
        (None, None),
    ]
    (tmp_path / "m.txt").write_text("x.mp4\ny.mp4\n")
    assert len(read_items(str(tmp_path / "m.txt"))) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"path": "x.mp4"}\n{"path": "x.mp4"}\n', "Id 'x.mp4' stands twice"),
        ('{"path": "x.mp4", "ids": 1}\n', "line 1.ids'. Did you mean 'id'"),
        ('{"path": 3}\n', r"line 1.path is 3; it must be text"),
        ('{"id": "x"}\n', "line 1 has no path"),
        ('["x.mp4"]\n', "line 1, is no mapping"),
        ("{", "line 1, is no JSON"),
        ("", "names no video"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_items(str(tmp_path / "m.jsonl"))


def test_a_row_each_and_a_plan_as_plan_video_makes_it(videos, tmp_path):
    done = run(videos, tmp_path / "out", shard_videos=3)
    assert (done.made, done.errors, done.skipped) == (4, 1, 0)
    rows = {row["id"]: row for row in read_shards(tmp_path / "out")}
    assert [row["status"] for row in rows.values()] == ["ok", "ok", "error", "ok"]
    assert rows["broken.mp4"]["error"].startswith("VideoError: ")
    assert rows["broken.mp4"]["path"] == str(videos / "broken.mp4")
    want = framegate.plan_video(videos / "more/c.mp4", keep_ratio=0.5)
    plan = rows["more/c.mp4"]["plan"]
    assert np.array_equal(plan.keep, want.keep)
    assert np.array_equal(plan.frames.timestamps_seconds, want.frames.timestamps_seconds)
    assert (plan.notes, plan.frames.notes) == (want.notes, want.frames.notes)
    # the plan goes back to its video
    assert framegate.plan_video(videos / "more/c.mp4", keep_ratio=0.5, plan=plan).num_kept == want.num_kept
    shards = read_shards(tmp_path / "out")
    assert [shards[place]["id"] for place in range(-1, 3)] == ["more/c.mp4", "a.mp4", "b.mp4", "broken.mp4"]
    assert shards.header["overrides"] == {"keep_ratio": 0.5}


def test_a_run_goes_on_where_it_was_cut_off_without_loss_or_doubles(videos, tmp_path):
    out = tmp_path / "out"
    run(videos, out, shard_videos=1)
    manifest = out / "manifest.jsonl"
    whole = manifest.read_text().splitlines(keepends=True)
    # killed between the second shard and its line, the third half-written
    manifest.write_text("".join(whole[:2]) + whole[2][:20])
    (out / "shard-000003.parquet").rename(out / "shard-000003.parquet.part")
    assert len(read_shards(out)) == 1
    done = run(videos, out, shard_videos=1)
    assert (done.made, done.skipped) == (3, 1)
    assert sorted(row["id"] for row in done.shards) == ["a.mp4", "b.mp4", "broken.mp4", "more/c.mp4"]
    assert not list(out.glob("*.part"))
    assert (run(videos, out).made, len(read_shards(out))) == (0, 4)


def test_a_folder_of_another_run_or_of_two_at_once_is_refused(videos, tmp_path):
    run(videos / "more", tmp_path / "out")
    with pytest.raises(ConfigError, match="holds shards of another run \\(config "):
        run(videos, tmp_path / "out", Job(overrides={"keep_ratio": 0.25}))
    with pytest.raises(ConfigError, match="holds no shards"):
        read_shards(videos)
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "out/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="Another run is writing"):
            run(videos, tmp_path / "out")
    with pytest.raises(ConfigError, match="output is 'plan'"):
        Job(output="plan")


def test_a_full_disk_ends_the_run_and_leaves_whole_shards(videos, tmp_path, monkeypatch):
    out, sync, calls = tmp_path / "out", os.fsync, []

    def full(file):
        calls.append(file)
        # the header, a shard, its line, a shard
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left.*run the same command again"):
        run(videos, out, shard_videos=1)
    assert [row["id"] for row in read_shards(out)] == ["a.mp4"]
    assert not list(out.glob("*.part"))
    assert [row["id"] for row in run(videos, out).shards] == ["a.mp4", "b.mp4", "broken.mp4", "more/c.mp4"]


def test_patches_come_back_as_inputs_and_answers_as_a_model_gives_them(videos, tmp_path):
    from framegate.tools.evaluation.ask import question_inputs

    job = Job(output="patches", question="What moves?", overrides={"keep_ratio": 0.5})
    (row,) = run(videos / "more", tmp_path / "patches", job).shards
    model, processor = framegate.from_pretrained("framegate/nano", framegate.load_config(keep_ratio=0.5))
    want = question_inputs(processor, str(videos / "more/c.mp4"), "What moves?")
    assert row["inputs"].keys() == want.keys()
    assert np.array_equal(row["inputs"]["pixel_values_videos"], want["pixel_values_videos"].numpy())
    assert row["cells_encoded"] < row["tokens_dense"]
    job = Job(output="answers", question="What moves?", overrides={"keep_ratio": 0.5}, max_new_tokens=3)
    (row,) = run(videos / "more", tmp_path / "answers", job).shards
    ids = model.generate(**want, max_new_tokens=3, do_sample=False)
    answer = processor.decode(ids[0, want["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert row["answer"] == answer
    assert row["tokens_kept"] == framegate.front_end_of(model).report.kept_tokens
