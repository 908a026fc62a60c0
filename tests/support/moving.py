"""Synthetic clips whose changes are known: noise, objects, cuts, and cameras that pan."""

import cv2
import numpy as np


def texture(height, width, seed=0, blur=1.5):
    """Smooth random texture, uint8 [h, w], with structure at the size of corners."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), blur)
    field = (field - field.mean()) / field.std()
    return np.clip(128 + 45 * field, 0, 255).astype(np.uint8)


def busy_clip(seed, frames, height, width, *, noise=2.0, cut=True):
    """A still scene with sensor noise, a square that walks, and perhaps a cut: uint8 [F, h, w]."""
    rng = np.random.default_rng(seed)
    scenes = [texture(height, width, seed), texture(height, width, seed + 1)]
    cut_at = rng.integers(1, frames + 1) if cut else frames + 1
    clip = np.empty((frames, height, width), np.uint8)
    for number in range(frames):
        frame = scenes[int(number >= cut_at)].astype(np.float32) + rng.normal(0, noise, (height, width))
        left = int(rng.integers(0, 3) + number * 2) % max(1, width - 4)
        frame[height // 3 : height // 3 + 4, left : left + 4] = 255
        clip[number] = np.clip(frame, 0, 255)
    return clip


def panned_clip(offsets, height, width, *, seed=0, noise=0.0, scene=None):
    """A large still scene through a window at sub-pixel offsets [F, 2] (x, y): uint8 [F, h, w]."""
    offsets = np.asarray(offsets, float)
    rng = np.random.default_rng(seed)
    if scene is None:
        low, high = np.floor(offsets.min(0)), np.ceil(offsets.max(0))
        size = high - low + (width + 2, height + 2)
        scene, offsets = texture(int(size[1]), int(size[0]), seed), offsets - low
    clip = np.empty((len(offsets), height, width), np.uint8)
    for number, (x, y) in enumerate(offsets):
        window = np.float32([[1, 0, x], [0, 1, y]])
        view = cv2.warpAffine(scene, window, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        clip[number] = np.clip(view + rng.normal(0, noise, (height, width)), 0, 255) if noise else view
    return clip


def jumping_clip(seed, tubes, tube_frames, rows, columns, cell_px=8):
    """Cells of noise around a level of their own, a third of which jump at every tube: uint8 [T, k, h, w]."""
    rng = np.random.default_rng(seed)
    jumps = (rng.random((tubes, 1, rows, columns)) < 0.33) * rng.integers(-20, 21, (tubes, 1, rows, columns))
    level = rng.integers(60, 190, (1, 1, rows, columns)) + jumps.cumsum(0)
    level = level.repeat(cell_px, 2).repeat(cell_px, 3)
    noise = rng.integers(-3, 4, (tubes, tube_frames, rows * cell_px, columns * cell_px))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def as_rgb(clip):
    """Grey frames with three channels: uint8 [F, h, w] -> [F, h, w, 3]."""
    return np.repeat(clip[..., None], 3, axis=-1)
