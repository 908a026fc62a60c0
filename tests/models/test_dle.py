"""The spoof ensemble: learns, reads each video by itself; thresholds and errors by hand; folders of public sets."""

import shutil
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip

from framegate.errors import ConfigError, FrameError, VideoNotFoundError
from framegate.models.dle import (
    SpoofEnsemble,
    eer_threshold,
    ensemble,
    half_total_error,
    leave_one_source_out,
    read_spoof_folder,
)

SMALL = {"bilstm": 4, "gru": 3, "lstm": 4}


def data(count, seed):
    """Features [2 to 5, 6] of videos; genuine ones lie higher in one of them."""
    rng = torch.Generator().manual_seed(seed)
    genuine = [number % 2 == 0 for number in range(count)]
    videos = [torch.randn(2 + number % 4, 6, generator=rng) for number in range(count)]
    for video, real in zip(videos, genuine, strict=True):
        video[:, 2] += 4 if real else -4
    return videos, genuine


def fitted(told=None, seed=13):
    settings = {"epochs": 10, "meta_epochs": 20, "learning_rate": 0.1, "check_every": 5}
    model = SpoofEnsemble(6, units=SMALL)
    return model.fit(data(16, 0), data(8, 1), progress=told, seed=seed, **settings)


@torch.no_grad()
def test_it_learns_and_every_part_tells_its_score():
    told = []
    with torch.enable_grad():
        model = fitted(told.append)
    assert told == ["bilstm", "gru", "lstm", "meta-learner"]
    videos, genuine = data(12, 2)
    scores = model(videos)
    assert list(scores) == ["bilstm", "gru", "lstm", "sum", "ensemble"]
    for name, score in scores.items():
        assert ((score > 0.5) == torch.tensor(genuine)).float().mean() > 0.7, name
    assert ((scores["ensemble"] > 0.5) == torch.tensor(genuine)).float().mean() > 0.9
    assert torch.allclose(scores["sum"], (scores["bilstm"] + scores["gru"] + scores["lstm"]) / 3)
    with torch.enable_grad():
        again = fitted()
    assert all(torch.equal(value, scores[name]) for name, value in again(videos).items())


@torch.no_grad()
def test_a_video_is_scored_as_if_it_were_alone():
    model, (videos, _) = SpoofEnsemble(6, units=SMALL), data(5, 3)
    together = model(videos)["ensemble"]
    for number, video in enumerate(videos):
        assert torch.allclose(model([video])["ensemble"][0], together[number], atol=1e-6)


def test_losses_and_scores_stay_where_the_features_are():
    lengths, labels = torch.tensor([2, 3]), torch.tensor([1, 0])
    rows = torch.zeros(2, 3, 6, device="meta")
    assert ensemble._over_frames(rows[..., 0], lengths).device.type == "meta"
    head = torch.nn.Linear(6, 2, device="meta")
    assert ensemble._loss(lambda rows, lengths: head(rows), rows, lengths, labels).device.type == "meta"


def test_frames_that_are_not_there_weigh_nothing():
    logits, lengths, labels = torch.randn(2, 3, 2), torch.tensor([1, 3]), torch.tensor([1, 0])
    there = torch.cat([logits[0, :1], logits[1]])
    wanted = torch.nn.functional.cross_entropy(there, torch.tensor([1, 0, 0, 0]))
    found = ensemble._loss(lambda rows, lengths: rows, logits, lengths, labels)
    torch.testing.assert_close(found, wanted)


def test_the_papers_units_are_the_default():
    model = SpoofEnsemble(2)
    assert model.networks["bilstm"].layer.hidden_size == 500
    assert model.networks["bilstm"].layer.bidirectional
    assert isinstance(model.networks["gru"].layer, torch.nn.GRU)
    assert model.networks["gru"].layer.hidden_size == 20
    assert model.networks["lstm"].layer.hidden_size == 1000
    assert model.meta.layer.hidden_size == 20


def test_thresholds_and_errors_by_hand():
    scores, genuine = [0.9, 0.8, 0.4, 0.6, 0.2, 0.1], [True] * 3 + [False] * 3
    assert eer_threshold(scores, genuine) == pytest.approx(0.5)
    assert half_total_error(scores, genuine, 0.5) == pytest.approx(100 / 3)
    assert half_total_error(scores, genuine, 0.0) == 50  # every attack accepted
    apart = [0.9, 0.8, 0.2, 0.1]
    threshold = eer_threshold(apart, [True, True, False, False])
    assert threshold == pytest.approx(0.5)
    assert half_total_error(apart, [True, True, False, False], threshold) == 0
    # a score of the threshold itself is refused
    assert half_total_error([0.5, 0.5], [True, False], 0.5) == 50


def test_each_source_is_left_out_once():
    found = dict(leave_one_source_out(["b", "a", "b", "c"]))
    assert list(found) == ["a", "b", "c"]
    assert found["b"].tolist() == [True, False, True, False]


def test_bad_data_is_told():
    model, (videos, genuine) = SpoofEnsemble(6, units=SMALL), data(4, 0)
    with pytest.raises(ConfigError, match="development data hold 4 genuine videos alone"):
        model.fit((videos, genuine), (videos, [True] * 4))
    with pytest.raises(ConfigError, match="training data hold 4 attacks alone"):
        model.fit((videos, [False] * 4), (videos, genuine))
    with pytest.raises(ConfigError, match="4 videos and 3 labels"):
        model.fit((videos, genuine[:3]), (videos, genuine))
    with pytest.raises(ConfigError, match="patience 0"):
        model.fit((videos, genuine), (videos, genuine), patience=0)
    with pytest.raises(FrameError, match=r"Video 0 has features \(3, 7\).*\[T, 6\]"):
        model([torch.zeros(3, 7)])
    with pytest.raises(FrameError, match=r"\(0, 6\)"):
        model([torch.zeros(0, 6)])
    with pytest.raises(FrameError, match="Video 1 has features that are no finite numbers"):
        model.fit(([videos[0], videos[1] * torch.nan, *videos[2:]], genuine), (videos, genuine))
    with pytest.raises(FrameError, match="no video"):
        model([])
    with pytest.raises(ConfigError, match="units for bilstm, gru, lstm"):
        SpoofEnsemble(6, units={"gru": 3})
    with pytest.raises(ConfigError, match="both kinds"):
        eer_threshold([0.1, 0.2], [True, True])
    with pytest.raises(ConfigError, match="one finite score"):
        half_total_error([0.1, np.nan], [True, False], 0.5)
    with pytest.raises(ConfigError, match="at least two"):
        leave_one_source_out(["a", "a"])


@pytest.mark.parametrize(
    ("source", "files", "wanted"),
    [
        (
            "oulu_npu",
            ["Train_files/1_1_01_1.avi", "Dev_files/2_3_21_4.avi", "Test_files/6_1_36_2.avi"],
            [("development", False, "21"), ("test", False, "36"), ("train", True, "01")],
        ),
        (
            "casia_fasd",
            ["test_release/3/5.avi", "train_release/1/1.avi", "train_release/1/HR_1.avi", "train_release/1/HR_4.avi"],
            [("test", False, "3"), ("train", True, "1"), ("train", True, "1"), ("train", False, "1")],
        ),
        (
            "replay_attack",
            [
                "devel/attack/hand/attack_mobile_client006_session01_adverse.mov",
                "train/real/client001_session01_webcam_adverse_1.mov",
            ],
            [("development", False, "006"), ("train", True, "001")],
        ),
        (
            "msu_mfsd",
            [
                "scene01/attack/attack_client001_android_SD_ipad.mov",
                "scene01/real/real_client001_laptop_SD_scene01.mov",
            ],
            [(None, False, "001"), (None, True, "001")],
        ),
    ],
)  # fmt: skip
def test_folders_of_public_sets_are_read(tmp_path, source, files, wanted):
    for file in files:
        path = tmp_path / "unpacked" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = read_spoof_folder(tmp_path)
    assert [(video.split, video.is_genuine, video.subject) for video in found] == wanted
    assert {video.source for video in found} == {source}
    assert {video.source for video in read_spoof_folder(tmp_path, source="mine")} == {"mine"}


def test_other_folders_are_told(tmp_path):
    with pytest.raises(VideoNotFoundError, match="no folder with videos"):
        read_spoof_folder(tmp_path)
    (tmp_path / "holiday.mp4").touch()
    for file in ("test/real/client1_a.mov", "test/attack/client1_b.mov", "Dev_files/2_3_21_4.avi"):
        (tmp_path / "sets" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sets" / file).touch()
    with pytest.raises(
        ConfigError, match=r"Dev_files/2_3_21_4.avi.* of oulu_npu.* of replay_attack.*each set"
    ):
        read_spoof_folder(tmp_path / "sets")
    shutil.rmtree(tmp_path / "sets")
    with pytest.raises(ConfigError, match=r"holiday\.mp4.*fits no known layout.*Replay-Attack"):
        read_spoof_folder(tmp_path)


def test_the_stand_in_has_a_clip_for_each_source(tmp_path):
    write_clip(tmp_path / "one.mp4", gradient_frames(6))
    real_content = run_path(str(Path(__file__).parents[2] / "examples/anti_spoofing.py"))["real_content"]
    with pytest.raises(ConfigError, match="holds 1 videos, and there are 4 sources"):
        real_content(tmp_path)
    assert real_content(None) == []
