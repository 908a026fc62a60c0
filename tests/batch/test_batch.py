"""Data sets: every video of an input has one row in the shards, whatever happens on the way."""

import errno
import os
import stat
from importlib import resources

import numpy as np
import pytest
from clips import gradient_frames, write_clip

import framegate
from framegate.errors import ConfigError, OutputError
from framegate.tools.batch import Job, read_shards, run_batch, shards
from framegate.tools.batch.items import read_items
from framegate.tools.lines_file import LinesFile

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


def test_manifests_are_utf_8_with_or_without_a_mark_and_names_may_hold_colons(tmp_path):
    manifest = tmp_path / "m.jsonl"
    # U+2028 stands in JSON as it is
    manifest.write_bytes('\ufeff{"path": "a:b.mp4", "question": "What\u2028moves?"}\r\n'.encode())
    (item,) = read_items(str(manifest))
    assert (item.path, item.question) == (str(tmp_path / "a:b.mp4"), "What\u2028moves?")
    table = tmp_path / "m.csv"
    table.write_bytes("\ufeffpath,id\r\nx.mp4,x\r\nDATA:video/mp4;base64\r\n".encode())
    with pytest.raises(ConfigError, match="line 3, has more or fewer"):
        read_items(str(table))
    table.write_bytes("path\nx\xe9.mp4\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="is no UTF-8"):
        read_items(str(table))


def test_files_of_others_that_are_named_as_shards_are_left_alone(videos, tmp_path):
    other = tmp_path / "shard-00000.parquet"
    other.write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match="is none that framegate batch wrote"):
        run(videos / "more", tmp_path)
    assert other.read_bytes() == b"somebody's"


def test_whatever_one_video_raises_is_its_row(videos, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(framegate, "plan_video", broken)
    (row,) = run(videos / "more", tmp_path / "out").shards
    assert (row["status"], row["error"]) == ("error", "RuntimeError: CUDA out of memory")


def test_a_shard_has_its_name_on_the_disk_before_the_manifest_tells_of_it(videos, tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def noted(file):
        synced.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        sync(file)

    monkeypatch.setattr(os, "fsync", noted)
    run(videos / "more", tmp_path / "out")
    # the manifest with its header, the shard, its line
    assert synced == ["file", "folder", "file", "folder", "file"]


def test_a_worker_whose_run_is_gone_gives_no_shard_its_name(tmp_path, monkeypatch):
    class Gone:
        def is_alive(self):
            return False

    monkeypatch.setattr(shards, "parent_process", Gone)
    with pytest.raises(OutputError, match="is gone"):
        shards.write_shard(tmp_path, 0, [{"id": "a", "path": "a", "status": "ok", "error": None}], {})
    assert not list(tmp_path.iterdir())


def test_a_line_that_found_no_room_is_the_error_that_is_told(tmp_path):
    resource = pytest.importorskip("resource")

    class Rows(LinesFile):
        key, holds = "rows", "rows"

    def write(path):
        with Rows(path, {}, resumes_on=()) as rows:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
            try:
                rows.append({"id": "longer than what is left"})
            except OSError as problem:
                raise OutputError("no room") from problem

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match="no room"):
            write(tmp_path / "rows")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
    (out / "shard-000003.parquet").rename(out / "shard-000003.parquet.0a.part")
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
        # the header and its folder, a shard and its folder, its line, a shard
        if len(calls) == 6:
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


def test_errors_are_tried_again_when_asked_and_the_new_row_takes_the_place_of_the_old(tmp_path):
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    write_clip(folder / "a.mp4", gradient_frames(6, height_px=64, width_px=96))
    for name in ("b.mp4", "c.mp4"):
        (folder / name).write_bytes(b"no video yet")
    assert run(folder, out, shard_videos=3).errors == 2
    write_clip(folder / "b.mp4", gradient_frames(7, height_px=64, width_px=96))
    assert run(folder, out).made == 0
    done = run(folder, out, retry_errors=True)
    assert (done.made, done.errors, done.skipped) == (2, 1, 1)
    assert [(row["id"], row["status"]) for row in done.shards] == [
        ("a.mp4", "ok"),
        ("b.mp4", "ok"),
        ("c.mp4", "error"),
    ]
    assert (len(done.shards), done.shards.errors, done.shards.error_ids()) == (3, 1, {"c.mp4"})
    assert [done.shards[place]["id"] for place in range(3)] == ["a.mp4", "b.mp4", "c.mp4"]
    # a third time, the one that is left
    assert (run(folder, out, retry_errors=True).made, len(read_shards(out))) == (1, 3)


def test_tokens_come_back_as_inputs_of_the_stock_model_and_say_where_they_come_from(tmp_path):
    import torch

    from framegate.models.nano import shipped_folder
    from framegate.tools.batch import model_inputs
    from framegate.tools.evaluation.ask import question_inputs

    settings = {"keep_ratio": 0.5, "tower_ratio": 0.25, "fps": 4}
    clip, question = resources.files("framegate") / "assets/codes.mp4", "What text stands at 4.9 seconds?"
    job = Job(output="tokens", question=question, overrides=settings)
    (row,) = run(clip, tmp_path / "tokens", job).shards
    model, processor = framegate.from_pretrained("framegate/nano", framegate.load_config(**settings))
    inputs = question_inputs(processor, str(clip), question)
    want = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    stock = type(model).from_pretrained(shipped_folder("framegate/nano")).eval()
    stock.model.visual.register_forward_pre_hook(lambda *_: pytest.fail("the tower ran"))
    given = model_inputs(row)
    with torch.no_grad():
        ids = stock.generate(**given, max_new_tokens=5, do_sample=False)
    new = ids[:, given["input_ids"].shape[1] :]
    assert torch.equal(new, want[:, inputs["input_ids"].shape[1] :])
    told, report = row["tokens"], framegate.front_end_of(model).report
    assert len(told["cell"]) == row["tokens_kept"] == report.kept_tokens < row["tokens_dense"]
    assert row["cells_encoded"] == report.encoded_cells < report.kept_tokens
    # what was skipped is shown again
    assert (told["age"] > 0).any()
    assert told["shapes"].prod(1).sum() == len(told["source"]) == row["tokens_dense"]


def test_a_row_without_inputs_says_so():
    from framegate.tools.batch import model_inputs

    with pytest.raises(ConfigError, match="holds no inputs"):
        model_inputs({"id": "a", "status": "error"})
