"""Readers and files of results: what is wrong is told with its file and line, and nothing is overwritten."""

import json

import pytest
from benchmark import question, write_benchmark

from framegate.errors import ConfigError
from framegate.tools.evaluation import read_dive, read_folder, read_results
from framegate.tools.evaluation.dive import is_dive
from framegate.tools.evaluation.results import ResultsFile


def test_a_folder_is_read_by_video(tmp_path):
    rows = [question(0), question(1, video="v1.mp4"), question(2, meta={"font": "x"}, kind=None, answer=12)]
    found = read_folder(write_benchmark(tmp_path / "data", rows, videos=3))
    assert [asked.id for asked in found.questions] == ["q0", "q2", "q1"]
    assert found.questions[1].kind == "text"
    assert found.questions[1].answer == "12"
    assert found.questions[1].meta == {"font": "x"}
    assert found.bad_rows == ()
    assert found.unasked_videos == ("v2.mp4",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "no JSON"),
        ("[1, 2]", "a question is an object"),
        (question(1, answer=None), "answer is None"),
        (question(1, question="  "), "question is '  '"),
        (question(1, answer=["a"]), "answer is ['a']"),
        ({name: value for name, value in question(1).items() if name != "id"}, "id is None"),
        (question(0), "'q0' is taken"),
        (question(1, time_seconds="soon"), "time_seconds is 'soon'"),
        (
            '{"id": "q1", "video": "v0.mp4", "question": "?", "answer": "a", "time_seconds": NaN}',
            "time_seconds is nan",
        ),
        (question(1, kind="when", answer="soon"), "it must be a time"),
        (question(1, kind="count", answer="some"), "whole number"),
        (question(1, kind="grid", answer="nowhere"), "one cell"),
        (question(1, video="../secret.mp4"), "inside videos/"),
        (question(1, video="/etc/passwd"), "inside videos/"),
        (question(1, meta=[1]), "meta is"),
        (question(1, question="half a pair \ud800"), "surrogates not allowed"),
    ],
)
def test_bad_rows_are_told_by_file_and_line(tmp_path, row, reason):
    folder = write_benchmark(tmp_path / "data", [question(0), "", row], videos=0)
    found = read_folder(folder)
    assert [asked.id for asked in found.questions] == ["q0"]
    (bad,) = found.bad_rows
    assert bad.place == f"{folder / 'questions.jsonl'}, line 3"
    assert reason in str(bad)


def test_a_line_of_broken_bytes_is_a_bad_row(tmp_path):
    folder = write_benchmark(tmp_path / "data", [question(0)], videos=0)
    with (folder / "questions.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{\n")
    assert len(read_folder(folder).bad_rows) == 1


def test_a_folder_without_a_question_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no questions\.jsonl"):
        read_folder(tmp_path)
    folder = write_benchmark(tmp_path / "data", ["{"], videos=0)
    with pytest.raises(ConfigError, match="no question that can be asked.*line 1: no JSON"):
        read_folder(folder)


def test_questions_are_selected(tmp_path):
    rows = [question(0), question(1, kind="when", answer="0.2"), question(2)]
    found = read_folder(write_benchmark(tmp_path / "data", rows, videos=0))
    assert [asked.id for asked in found.select(kinds=["text_at"], limit=1).questions] == ["q0"]
    with pytest.raises(ConfigError, match="Did you mean 'when'"):
        found.select(kinds=["wen"])
    with pytest.raises(ConfigError, match="limit is 0"):
        found.select(limit=0)


def dive_row(number, ending, **changes):
    row = {
        "qid": f"{number}{ending}",
        "video_path": f"DenseVideo-LPM/videos/{number}.mp4",
        "video": str(number),
    }
    return (
        row | {"question": "what subtitles appear?", "answer": "hello", "fps": 30.0, "type": "QA"} | changes
    )


def write_dive(folder, rows):
    (folder / "videos").mkdir(parents=True)
    table = folder / "LPM_videos.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


def test_dives_table_is_read(tmp_path):
    rows = [
        dive_row("a", "_sub"),
        dive_row("b", "_ocr"),
        dive_row("a", "_ocr"),
        dive_row("c", "_sub", answer=""),
    ]
    table = write_dive(tmp_path, rows)
    (tmp_path / "videos" / "a.mp4").write_bytes(b"x")
    deep = tmp_path / "DenseVideo-LPM" / "videos" / "b.mp4"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"x")
    found = read_dive(table)
    assert [(asked.id, asked.kind) for asked in found.questions] == [
        ("a_sub", "subtitle"), ("a_ocr", "ocr"), ("b_ocr", "ocr"),
    ]  # fmt: skip
    assert [asked.path for asked in found.questions] == [tmp_path / "videos" / "a.mp4"] * 2 + [deep]
    assert found.questions[0].video == "a.mp4"
    assert found.questions[0].meta == {"type": "QA", "fps": 30.0}
    assert str(found.bad_rows[0]).startswith(f"{table}, line 4: answer is ''")
    assert is_dive(table)
    assert not is_dive(tmp_path)
    plain = write_benchmark(tmp_path / "plain", [question(0)], videos=1) / "questions.jsonl"
    assert not is_dive(plain)


def test_dives_json_table_and_the_one_that_is_refused(tmp_path):
    table = tmp_path / "table.json"
    table.write_text(json.dumps([dive_row("a", "_sub"), 3]))
    found = read_dive(table, videos=tmp_path / "elsewhere")
    assert found.questions[0].path == tmp_path / "elsewhere" / "a.mp4"
    assert str(found.bad_rows[0]).startswith(f"{table}, row 2: a question is an object")
    table.write_text(json.dumps([dive_row("a", "", answer_traj="[]")]))
    with pytest.raises(ConfigError, match="High-Motion"):
        read_dive(table)
    table.write_text("{")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_dive(table)
    with pytest.raises(ConfigError, match=r"holds no LPM_videos\.parquet"):
        read_dive(tmp_path)


def test_dives_parquet_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "videos").mkdir()
    rows = [dive_row("a", "_sub"), dive_row("b", "_ocr")]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "LPM_videos.parquet")
    assert is_dive(tmp_path)
    assert [asked.id for asked in read_dive(tmp_path).questions] == ["a_sub", "b_ocr"]
    (tmp_path / "LPM_videos.parquet").write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="is no parquet file"):
        read_dive(tmp_path)


def test_a_parquet_table_without_pyarrow_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "LPM_videos.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        read_dive(tmp_path)


HEADER = {"model": "m", "preset": "gate"}


def write(path, rows=2, header=HEADER):
    with ResultsFile(path, header, resumes_on=("model", "preset")) as file:
        for number in range(rows):
            file.append({"id": f"q{number}"})


def test_results_are_read_back(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    write(path)
    found = read_results(path)
    assert (dict(found.header), [row["id"] for row in found.rows]) == (HEADER, ["q0", "q1"])


LONG = b'{"id": "q2", "resps": "' + b"y" * 500  # longer than the line that takes its place


@pytest.mark.parametrize(
    "tail", [LONG, b'{"id": "q', b'{"id": "q2"}', b"\0\0\0\0", b"\0\0\n", b'{"id": "\xc3']
)
def test_a_half_written_last_line_is_cut_off(tmp_path, tail):
    path = tmp_path / "results.jsonl"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert len(read_results(path).rows) == 2
    with ResultsFile(path, HEADER, resumes_on=("model",)) as file:
        assert file.done == {"q0", "q1"}
        file.append({"id": "q2"})
    assert path.read_bytes() == whole + b'{"id": "q2"}\n'


def test_failed_questions_are_asked_again(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, HEADER, resumes_on=("model",)) as file:
        for name, status in (("q0", "error"), ("q1", "ok"), ("q2", "error")):
            file.append({"id": name, "status": status})
    with ResultsFile(path, HEADER, resumes_on=("model",)) as file:
        assert file.done == {"q1"}
        file.append({"id": "q0", "status": "ok"})
    assert [row["id"] for row in read_results(path).rows] == ["q1", "q0"]


def test_questions_of_a_split_alone(tmp_path):
    rows = [question(number, meta={"split": split}) for number, split in enumerate(("train", "test", "test"))]
    found = read_folder(write_benchmark(tmp_path / "data", rows, videos=1))
    assert [asked.id for asked in found.select(split="test", limit=1).questions] == ["q1"]
    with pytest.raises(ConfigError, match="split 'tets'. Did you mean 'test'"):
        found.select(split="tets")
    mixed = [
        question(0, meta={"split": "train"}),
        question(1, kind="grid", answer="top", meta={"split": "test"}),
    ]
    found = read_folder(write_benchmark(tmp_path / "mixed", mixed, videos=1))
    with pytest.raises(ConfigError, match=r"of split 'train' and of kind \['grid'\]"):
        found.select(split="train", kinds=["grid"])


def test_a_half_written_header_is_begun_anew(tmp_path):
    path = tmp_path / "results.jsonl"
    write(path)
    whole = path.read_bytes()
    for length in (0, 3, 25, len(whole.splitlines()[0])):
        path.write_bytes(whole[:length])
        write(path)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\n",
        b'{"id": "q0"}\n',
        b'{"framegate_eval": {}}\nbroken\n{"id": "q1"}\n',
        b"[1]",
    ],
)
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"line [12], is no"):
        write(path)
    assert path.read_bytes() == content


def test_another_header_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "results.jsonl"
    write(path)
    with pytest.raises(ConfigError, match=r"another run \(preset 'gate', now 'dense'\)"):
        write(path, header=HEADER | {"preset": "dense"})
    write(path, rows=0, header=HEADER | {"commit": "later"})


def test_no_results_are_told(tmp_path):
    with pytest.raises(ConfigError, match="no file of results"):
        read_results(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds no results"):
        read_results(tmp_path / "empty.jsonl")
