"""framegate bench: what disagrees is refused, floors are as counted by hand, rows replace those of their key."""

import csv
import importlib.util
import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import kernel_tables
import pytest
import torch
from typer.testing import CliRunner

from framegate.cli import app
from framegate.errors import ConfigError, DisagreementError
from framegate.tools.bench import (
    COLUMNS,
    KEY,
    OPS,
    Case,
    Place,
    Work,
    bench_cases,
    bench_op,
    cases_of,
    check_ops,
    failed_trials,
    place_of,
    read_rows,
    setting_of,
    write_rows,
)
from framegate.tools.bench.run import CASES
from framegate.tools.bench.timing import COPY, COPY_BYTES, PRODUCT, PRODUCT_SIDE, Spread, floor_ms, time_all

ROOT = Path(__file__).parents[2]
QUICK = setting_of("cpu", quick=True)
HERE = Place(device="cpu test", torch="2", triton="3", commit="abc1234")


def invoke(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def cases_by_name(op):
    return {(case.x_name, case.x): case for case in cases_of(op, QUICK)}


def row_of(**changes):
    shared = dict.fromkeys(COLUMNS, "") | {"op": "compact", "provider": "torch", "mode": "forward"}
    return (
        shared | {"x_name": "rows", "x": "4", "p50": "1.5", "of_floor": "0.5", "floor_ms": "0.75"} | changes
    )


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_rows_of_its_reference(op):
    account = bench_op(op, QUICK, HERE, command="framegate bench")
    modes = {row["mode"] for row in account.rows if row["provider"] == "torch"}
    assert modes == (
        {"forward", "backward"} if op.split("_")[0] in ("segment", "pool", "anchored") else {"forward"}
    )
    providers = {row["provider"] for row in account.rows}
    assert providers == ({"torch", "opencv"} if op in ("block_residual", "anchor_scan") else {"torch"})
    assert {key[1] for key in account.skipped} == {"triton"}
    for row in account.rows:
        assert tuple(row) == COLUMNS
        assert float(row["p20"]) <= float(row["p50"]) <= float(row["p80"])
        assert float(row["floor_ms"]) > 0
        assert (row["metric"], row["peak_mib"], row["commit"]) == ("ms", "", "abc1234")
        assert isinstance(json.loads(row["shape"]), dict)
        assert datetime.fromisoformat(row["timestamp"]).tzinfo == UTC


def test_every_kernel_has_cases():
    assert set(OPS) == {path.parent.name for path in (ROOT / "kernels").glob("*/__init__.py")}


def test_floors_are_the_bytes_counted_by_hand():
    compact = cases_by_name("compact")["keep_ratio", 0.25]
    assert compact.work == {"forward": Work(num_bytes=2 * 16 * 48 * 4 + 64)}
    merge = cases_by_name("segment_merge")["tokens", 64]
    assert merge.work["forward"].num_bytes == (64 + 16) * 48 * 4 + (64 + 64 + 16) * 8
    assert merge.work["backward"].num_bytes == (64 + 16) * 48 * 4 + (64 + 64) * 8
    # two tubes of 4 x 4: 4 areas of 2 x 2, and 1 of 4 x 4
    pool = cases_by_name("pool_condense")["tubes", 2]
    assert pool.work["forward"].num_bytes == (32 + 5) * 48 * 4 + (32 * 7 + 5) * 8
    assert len(pool.run("torch")[0]) == 5
    # 2 tubes of 2 frames of 56 x 56 px: 8 cells of 28 px
    residual = cases_by_name("block_residual")["frames", 4]
    assert residual.work["forward"].num_bytes == 2 * 4 * 56 * 56 + 8 * 4
    scan = cases_by_name("anchor_scan")
    assert scan["frames", 4].work["forward"].num_bytes == 4 * 56 * 56 + 8 * 5
    assert scan["thresholds", 2].work["forward"].num_bytes == 4 * 56 * 56 + 8 * 5 * 2
    divergence = cases_by_name("scene_divergence")["scenes", 3]
    assert divergence.work["forward"].num_bytes == (3 * 101 + 9) * 4


def test_the_floor_of_attention_is_its_products_by_hand():
    # the first of 2 tubes of 32 rows whole, 8 of the second; each of the 40 sees 32 rows, 2 heads of 16
    attention = cases_by_name("anchored_attention")["keep_ratio", 0.25]
    assert attention.work["forward"].flops == 2 * 2 * 40 * 32 * 2 * 16
    assert attention.work["backward"].flops == 2 * attention.work["forward"].flops
    index = 64 * 8 + 2 * 64 * 16 * 4 + 2 * 3 * 4
    assert attention.work["forward"].num_bytes == 4 * 40 * 2 * 16 * 4 + index
    # 16 of the second alone: 32 * 32 + 16 * 16 pairs
    alone = cases_by_name("anchored_attention")["keep_ratio_alone", 0.5]
    assert alone.work["forward"].flops == 2 * 2 * (32 * 32 + 16 * 16) * 2 * 16


def test_the_floor_is_the_longer_of_moving_and_multiplying():
    times = {COPY: Spread(3.0, 1.0, 9.0), PRODUCT: Spread(5.0, 1.0, 9.0)}
    moved, multiplied = 2 * COPY_BYTES["quick"], 2 * PRODUCT_SIDE["quick"] ** 3
    assert floor_ms(Work(num_bytes=moved), times, "quick") == 3.0
    assert floor_ms(Work(num_bytes=moved, flops=2 * multiplied), times, "quick") == 10.0
    assert floor_ms(Work(num_bytes=4 * moved, flops=multiplied), times, "quick") == 12.0


def test_on_a_gpu_triton_times(monkeypatch):
    testing = pytest.importorskip("triton.testing")
    signature = inspect.signature(testing.do_bench)

    def do_bench(*arguments, **options):
        assert signature.bind(*arguments, **options).arguments["quantiles"] == [0.5, 0.2, 0.8]
        return [2.0, 1.0, 3.0]

    monkeypatch.setattr(testing, "do_bench", do_bench)
    found = time_all({"torch": lambda: None}, torch.device("cuda"), quick=True)
    assert found == {"torch": Spread(p50=2.0, p20=1.0, p80=3.0)}


def toy(rivals, outputs=None):
    outputs = torch.arange(4.0) if outputs is None else outputs
    return Case(
        op="toy",
        x_name="rows",
        x=4,
        shape={},
        dtype=torch.float32,
        run=lambda backend: outputs,
        work={"forward": Work(num_bytes=32)},
        rivals=rivals,
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.tensor([0.0, 1.0, 2.0, 3.5]), "the worst error is 0.5, 0.0003 is allowed"),
        (torch.tensor([0.0, 1.0, 2.0, float("nan")]), "not finite"),
        (torch.arange(5.0), "torch.float32 (5,) for torch.float32 (4,)"),
        (torch.arange(4), "torch.int64 (4,) for torch.float32 (4,)"),
        ((torch.arange(4.0), torch.arange(4.0)), "2 outputs for 1"),
    ],
)
def test_a_provider_that_disagrees_is_refused_before_anything_is_timed(wrong, words, monkeypatch):
    monkeypatch.setattr("framegate.tools.bench.run.time_all", lambda *_, **__: pytest.fail("timed"))
    # the second case is wrong, and the first is not timed either
    cases = [toy({}), toy({"swift": lambda: wrong})]
    with pytest.raises(DisagreementError, match=r"toy by 'swift' .*forward, rows 4") as told:
        bench_cases(lambda: cases, QUICK, HERE)
    assert words in str(told.value)


def test_decisions_have_to_be_equal():
    right = torch.tensor([True, False, True])
    with pytest.raises(DisagreementError, match="1 of 3 values differ, by 1 at worst"):
        bench_cases(lambda: [toy({"swift": lambda: ~right | right}, right)], QUICK, HERE)
    account = bench_cases(lambda: [toy({"swift": right.clone}, right)], QUICK, HERE)
    assert [row["provider"] for row in account.rows] == ["torch", "swift"]


def test_roundings_are_no_disagreement():
    account = bench_cases(lambda: [toy({"swift": lambda: torch.arange(4.0) + 1e-5})], QUICK, HERE)
    assert [row["provider"] for row in account.rows] == ["torch", "swift"]


def test_gradients_are_compared_too():
    leaf = torch.ones(3, requires_grad=True)
    case = replace(
        toy({"swift": lambda: leaf.detach() * leaf}),
        run=lambda backend: leaf * leaf,
        work={"backward": Work(num_bytes=1)},
        leaves=(leaf,),
    )
    with pytest.raises(DisagreementError, match="'swift' is not what the reference gives .backward"):
        bench_cases(lambda: [case], QUICK, HERE)
    right = replace(case, rivals={"swift": lambda: leaf.square()})
    assert len(bench_cases(lambda: [right], QUICK, HERE).rows) == 2


def test_a_provider_that_cannot_run_is_a_reason_and_no_row():
    def broken():
        raise RuntimeError("no compiler\nhere")

    account = bench_cases(lambda: [toy({"swift": broken})], QUICK, HERE)
    assert [row["provider"] for row in account.rows] == ["torch"]
    assert account.skipped["toy", "swift", "forward", "rows", "4"] == "RuntimeError: no compiler here"


def test_rows_replace_those_of_their_key(tmp_path):
    path = tmp_path / "new" / "compact.csv"
    write_rows(path, [row_of(), row_of(provider="triton"), row_of(x="8")])
    write_rows(path, [row_of(provider="triton", p50="0.5"), row_of(device="gpu")])
    rows = read_rows(path)
    assert [(row["provider"], row["x"], row["device"], row["p50"]) for row in rows] == [
        ("torch", "4", "", "1.5"),
        ("triton", "4", "", "0.5"),
        ("torch", "8", "", "1.5"),
        ("torch", "4", "gpu", "1.5"),
    ]
    assert len({tuple(row[name] for name in KEY) for row in rows}) == len(rows)
    assert [file.name for file in path.parent.iterdir()] == ["compact.csv"]


def test_a_file_of_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "compact.csv"
    path.write_text("op,provider\ncompact,torch\n")
    with pytest.raises(ConfigError, match="other columns"):
        write_rows(path, [row_of()])
    assert path.read_text() == "op,provider\ncompact,torch\n"


def test_ops_and_devices_are_checked(monkeypatch):
    assert check_ops([]) == OPS
    assert check_ops(["compact", "anchor_scan", "compact"]) == ("anchor_scan", "compact")
    with pytest.raises(ConfigError, match="Did you mean 'segment_merge'?"):
        check_ops(["segment_merg"])
    with pytest.raises(ConfigError, match="device is 'gpu'"):
        setting_of("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU here"):
        setting_of("cuda")
    assert not setting_of().compiles


def test_devices_have_folders():
    assert place_of(torch.device("cpu")).folder.startswith("cpu_")
    assert replace(HERE, device="NVIDIA H100 80GB HBM3").folder == "nvidia_h100_80gb_hbm3"


def test_trials_tell_what_failed(tmp_path):
    (tmp_path / "test_compact.py").write_text("def test_it():\n    assert 1 == 2\n")
    with pytest.raises(ConfigError, match=r"no tests of anchor_scan \(test_anchor_scan\*\.py\)"):
        failed_trials("anchor_scan", tmp_path)
    result = invoke("compact", "--quick", "--device", "cpu", "--tests", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "compact was refused, nothing of it is written: its tests fail" in result.stderr
    assert "assert 1 == 2" in result.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "test_compact.py").write_text("def test_it():\n    assert 2 == 2\n")
    assert failed_trials("compact", tmp_path) is None


def test_command_writes_and_tells(tmp_path):
    arguments = ["segment_merge", "compact", "--quick", "--device", "cpu", "--out", tmp_path]
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    account = json.loads(result.stdout)
    folder = tmp_path / (place_of(torch.device("cpu")).folder + "-quick")
    assert account["written"] == [str(folder / "compact.csv"), str(folder / "segment_merge.csv")]
    assert account["refused"] == {}
    with (folder / "segment_merge.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [row for row in account["rows"] if row["op"] == "segment_merge"]
    assert [row["mode"] for row in rows] == ["forward", "backward"]
    again = invoke(*arguments)
    assert again.exit_code == 0, again.stderr
    assert "no row of triton: kernels run on GPUs, not on cpu (compact, segment_merge)" in again.stdout
    assert "p50 ms" in again.stdout
    assert len(read_rows(folder / "segment_merge.csv")) == len(rows)


def test_command_refuses_one_op_and_times_the_others(tmp_path, monkeypatch):
    wrong = lambda setting: iter([toy({"swift": lambda: torch.zeros(4)})])  # noqa: E731
    monkeypatch.setitem(CASES, "segment_merge", wrong)
    arguments = ["segment_merge", "scene_divergence", "--quick", "--device", "cpu", "--out", tmp_path]
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "segment_merge was refused" in result.stderr
    assert "the worst error is 3" in result.stderr
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["scene_divergence.csv"]


def test_command_names_the_nearest_op():
    result = invoke("compakt")
    assert result.exit_code == 2
    assert "Did you mean 'compact'?" in result.stderr


def test_tables_show_devices_apart_and_say_when_there_is_no_gpu(tmp_path):
    cpu = [
        row_of(device="cpu x"),
        row_of(device="cpu x", x="16", p50="4"),
        row_of(device="cpu x", mode="backward"),
    ]
    assert kernel_tables.gpu_words(cpu) == "No GPU row yet"
    gpu = [row_of(device="H100"), row_of(device="H100", provider="triton", p50="1", of_floor="0.75")]
    assert kernel_tables.gpu_words(cpu + gpu) == "GPU rows: H100"
    for device, rows in (("cpu_x", cpu), ("h100", gpu)):
        write_rows(tmp_path / device / "compact.csv", rows)
    header, body = kernel_tables.table_of(kernel_tables.largest(kernel_tables.read(tmp_path)))
    assert header[5:7] == ["torch ms", "triton ms"]
    assert body == [
        ["H100", "compact", "forward", "rows 4", "", "1.5", "1", "0.75", "75.00% (triton)"],
        ["cpu x", "compact", "forward", "rows 16", "", "4", "", "0.75", "50.00% (torch)"],
    ]
    assert "No row yet" in kernel_tables._text([], kernel_tables.table_of, None)


def test_end_to_end_counts_what_stands_still(tmp_path, monkeypatch):
    script = ROOT / "benchmarks/kernels/bench_end_to_end.py"
    spec = importlib.util.spec_from_file_location("bench_end_to_end", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = ["--quick", "--device", "cpu", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["bench_end_to_end.py", *arguments])
    module.main()
    rows = kernel_tables.read_end_to_end(tmp_path)
    # 2 tubes of 4 x 4 cells, the first one whole; of the second two columns change, or one
    assert [(row["static_share"], row["context"], row["tokens_kept"]) for row in rows] == [
        ("0.5", "kept", "24"),
        ("0.5", "anchored", "24"),
        ("0.75", "kept", "20"),
        ("0.75", "anchored", "20"),
    ]
    assert {row["target"] for row in rows} == {""}, "the target is a GPU's"
    header, body = kernel_tables.end_to_end_table(rows)
    assert {len(line) for line in body} == {len(header)}
