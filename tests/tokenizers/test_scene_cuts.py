"""Scenes from the gate's own statistics, cross-checked with PySceneDetect on clips whose cuts are known."""

import numpy as np
import pytest
from clips import write_clip
from moving import texture
from scenedetect import ContentDetector, detect

import framegate

SIZE = (168, 224)


def shots(lengths, seed):
    """Shots of coloured textures in which a square walks, with sensor noise: uint8 [F, h, w, 3]."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, length in enumerate(lengths):
        scene = np.stack(
            [texture(*SIZE, seed=100 * seed + 3 * number + c, blur=4) for c in range(3)], axis=-1
        )
        # far from the shot before in colour, as a cut between places is
        scene = scene // 2 + np.array([[0, 60, 120], [120, 0, 60], [60, 120, 0]])[number % 3]
        for step in range(length):
            frame = scene + rng.normal(0, 2, scene.shape)
            frame[40:80, 4 * step : 4 * step + 30] = 240
            frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return np.stack(frames)


@pytest.mark.parametrize("preset", ["gate", "grt"])
@pytest.mark.parametrize("lengths", [(14, 9, 17), (30,), (6, 6, 6, 6, 6)])
def test_keyframes_of_the_gate_are_the_cuts_that_pyscenedetect_finds(tmp_path, preset, lengths):
    clip = write_clip(tmp_path / "shots.mp4", shots(lengths, seed=len(lengths)), options={"crf": "18"})
    plan = framegate.plan_video(clip, preset, fps=10, width_px=224)
    ours = np.flatnonzero(plan.keyframes).tolist()
    scenes = detect(str(clip), ContentDetector(min_scene_len=3))
    theirs = [start.get_frames() for start, _ in scenes] or [0]
    assert ours == theirs == np.cumsum([0, *lengths[:-1]]).tolist()
