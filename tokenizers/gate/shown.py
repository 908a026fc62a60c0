"""What kept cells alone can show: the current picture, and where in earlier pictures each block of it came from.

Content that the camera moves is always sampled from the picture in which it was encoded, by the motion
accumulated since, and never from a picture already warped: warping one canvas again and again blurs it. Each
block (4 px) points at a picture and an offset; a ring holds the last pictures as tiles of one mosaic, so that
one remap draws a whole tube. Luma and RGB follow the same recursion, so what the gate predicted is what a
reconstruction shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.grid import CellGrid
from framegate.types import BoolArray, Float32Array, Int32Array, UInt8Array

MID_GREY = 128
MAX_RING_TUBES = 32
MIN_RING_TUBES = 4
RING_BUDGET_PX = 64 * 2**20
MAX_REMAP_SIDE_PX = 32_000
# One 4-px column or row of blocks of a 28-px cell may repeat the frame's border; more would be made up.
MAX_INVENTED_SHARE = 0.2


@dataclass(frozen=True)
class Prediction:
    """A tube drawn under camera motion.

    Args:
        picture: uint8 [k, h, w] or [k, h, w, 3].
        tile: tile of the mosaic each block is drawn from, int32 [k, rows, columns of blocks].
        offset_x: from the block to its place in that picture, px, float32, same shape.
        offset_y: the same, downwards.
        invented: blocks that were outside the frame, now or when they were moved in, bool, same shape.
        outside: cells of which too much is invented, bool [H, W].
    """

    picture: UInt8Array
    tile: Int32Array
    offset_x: Float32Array
    offset_y: Float32Array
    invented: BoolArray
    outside: BoolArray


def ring_tubes_for(grid: CellGrid) -> int:
    """How many pictures motion may reach back: 32, fewer for large frames, so that memory stays bounded."""
    affordable = RING_BUDGET_PX // (grid.tube_frames * grid.height_px * grid.width_px)
    return int(np.clip(affordable, MIN_RING_TUBES, MAX_RING_TUBES))


class ShownContent:
    """The picture shown so far and the recent ones it can be drawn from.

    Args:
        grid: geometry of the frames.
        ring_tubes: pictures kept to draw moved content from; 0 when no motion will be used.
        channels: 1 for luma, 3 for RGB.
    """

    def __init__(self, grid: CellGrid, *, ring_tubes: int, channels: int = 1) -> None:
        colour = (channels,) if channels > 1 else ()
        self._grid = grid
        self._ring_tubes = ring_tubes
        self.picture: UInt8Array = np.full(
            (grid.tube_frames, grid.height_px, grid.width_px, *colour), MID_GREY, np.uint8
        )
        self._tube = -1
        if ring_tubes:
            self._allocate_ring(colour)

    def _allocate_ring(self, colour: tuple[int, ...]) -> None:
        grid = self._grid
        self._pad = 2 * grid.block_px + 2
        tile_height, tile_width = grid.height_px + 2 * self._pad, grid.width_px + 2 * self._pad
        tiles = self._ring_tubes * grid.tube_frames
        self._tile_columns = min(
            tiles, max(1, MAX_REMAP_SIDE_PX // tile_width), round((tiles * 1.3) ** 0.5) or 1
        )
        tile_rows = -(-tiles // self._tile_columns)
        self._mosaic: UInt8Array = np.zeros(
            (tile_rows * tile_height, self._tile_columns * tile_width, *colour), np.uint8
        )
        row, column = np.divmod(np.arange(tiles), self._tile_columns)
        self._tile_x: Float32Array = (column * tile_width + self._pad).astype(np.float32)
        self._tile_y: Float32Array = (row * tile_height + self._pad).astype(np.float32)
        self._tile: Int32Array = np.zeros(grid.block_shape, np.int32)
        self._invented: BoolArray = np.zeros(grid.block_shape, bool)
        self._offset_x: Float32Array = np.zeros(grid.block_shape, np.float32)
        self._offset_y: Float32Array = np.zeros(grid.block_shape, np.float32)
        self._centre_x, self._centre_y = block_centres(grid)
        flat = (grid.tube_frames * grid.height_px, grid.width_px)
        row, column = np.indices(flat, dtype=np.int16)
        self._pixels = np.stack([column, row % np.int16(grid.height_px)], axis=-1)
        # Drawn into again and again: fresh memory would cost more than the arithmetic.
        self._map_whole = np.empty((*flat, 2), np.int16)
        self._map_fraction = np.empty(flat, np.uint16)
        self._drawn: UInt8Array = np.empty((*flat, *colour), np.uint8)

    def predict(self, motion: Float32Array) -> Prediction:
        """Draw the next tube as the camera's motion alone would make it.

        motion float32 [k, 2, 3] maps the pixels of each of its frames to those of the tube shown. The picture is valid
        until the next prediction or commit.

        Source: motion compensation with several reference pictures, as in H.264.
        """
        place = moved_blocks(motion, self._grid)
        tile = self._tile.take(place.index)
        offset_x = self._offset_x.take(place.index)
        offset_y = self._offset_y.take(place.index)
        offset_x += place.x - self._centre_x
        offset_y += place.y - self._centre_y
        x, y = self._centre_x + offset_x, self._centre_y + offset_y
        invented = self._invented.take(place.index)
        invented |= place.outside
        invented |= _beyond(x, self._grid.width_px)
        invented |= _beyond(y, self._grid.height_px)
        picture = self._draw(tile, x, y)
        return Prediction(picture, tile, offset_x, offset_y, invented, _mostly(invented, self._grid))

    def commit(
        self, tube: UInt8Array, keep: BoolArray, camera: Prediction | None, moved: BoolArray | None
    ) -> None:
        """Take a decided tube in: encoded cells show themselves, moved cells the prediction, the rest what they showed.

        tube uint8 [k, h, w] or [k, h, w, 3]; keep and moved bool [H, W]: what is both counts as encoded.
        """
        self._tube += 1
        if camera is not None and moved is not None:
            self._turn_to(camera.picture, stays=~(moved | keep))
            blocks = self._grid.blocks_of(moved)
            self._point(blocks, camera.tile, camera.offset_x, camera.offset_y)
            np.copyto(self._invented, camera.invented, where=blocks)
        self._show(tube, keep)
        if self._ring_tubes:
            kept = self._grid.blocks_of(keep)
            tiles = self._tiles_of_now()[:, None, None]
            # What still points at the tiles about to be overwritten shows on from the current picture.
            self._point((self._tile == tiles) | kept, tiles, np.float32(0), np.float32(0))
            self._invented &= ~kept
            self._remember()

    def _tiles_of_now(self) -> Int32Array:
        planes = self._grid.tube_frames
        return np.arange(planes, dtype=np.int32) + self._tube % self._ring_tubes * planes

    def _show(self, tube: UInt8Array, cells: BoolArray) -> None:
        if cells.all():
            np.copyto(self.picture, tube)
        elif cells.any():
            side = self._grid.cell_px
            pixels = cells.view(np.uint8).repeat(side, axis=1).repeat(side, axis=0)
            for frame, shown in zip(tube, self.picture, strict=True):
                cv2.copyTo(frame, pixels, shown)

    def _turn_to(self, drawn: UInt8Array, *, stays: BoolArray) -> None:
        """Most cells move when any do: the picture becomes the drawn one, and what stays is copied into that."""
        former, self.picture = self.picture, drawn
        self._drawn = former.reshape(self._drawn.shape)
        self._show(former, stays)

    def _point(
        self, blocks: BoolArray, tile: npt.ArrayLike, offset_x: npt.ArrayLike, offset_y: npt.ArrayLike
    ) -> None:
        np.copyto(self._tile, tile, where=blocks)
        np.copyto(self._offset_x, offset_x, where=blocks)
        np.copyto(self._offset_y, offset_y, where=blocks)

    def _remember(self) -> None:
        pad = self._pad
        for tile, frame in zip(self._tiles_of_now(), self.picture, strict=True):
            left, top = int(self._tile_x[tile]) - pad, int(self._tile_y[tile]) - pad
            there = self._mosaic[top : top + frame.shape[0] + 2 * pad, left : left + frame.shape[1] + 2 * pad]
            cv2.copyMakeBorder(frame, pad, pad, pad, pad, cv2.BORDER_REPLICATE, dst=there)

    def _draw(self, tile: Int32Array, x: Float32Array, y: Float32Array) -> UInt8Array:
        """Sample every pixel once, bilinearly, from the mosaic of recent pictures.

        A block moves as one, so its fraction of a pixel is the same all over it: OpenCV's fixed-point maps
        are made per block and spread, whole pixels and 1/32 fractions apart.
        """
        grid, reach = self._grid, self._pad - self._grid.block_px / 2 - 1
        place_x = self._tile_x.take(tile)
        place_y = self._tile_y.take(tile)
        place_x += np.clip(x, -reach, grid.width_px - 1 + reach) - self._centre_x
        place_y += np.clip(y, -reach, grid.height_px - 1 + reach) - self._centre_y
        flat = (-1, place_x.shape[-1])  # [k * rows, columns]
        whole, fraction = cv2.convertMaps(place_x.reshape(flat), place_y.reshape(flat), cv2.CV_16SC2)
        self._spread(whole, self._map_whole)
        np.add(self._map_whole, self._pixels, out=self._map_whole)
        self._spread(fraction, self._map_fraction)
        drawn = cv2.remap(
            self._mosaic, self._map_whole, self._map_fraction, cv2.INTER_LINEAR, dst=self._drawn
        )
        return drawn.reshape(self.picture.shape)

    def _spread(self, blocks: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Repeat block values [k * rows, columns] over their pixels, into `out` [k * h, w]."""
        cv2.resize(blocks, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class MovedBlocks:
    """Where each block was one tube ago: flat block index, centre in px, and whether that is outside the frame.

    Each is, or broadcasts to, [k, rows of blocks, columns of blocks]; for places outside, the index is that of the
    nearest block.
    """

    index: npt.NDArray[np.intp]
    x: Float32Array
    y: Float32Array
    outside: BoolArray


def block_centres(grid: CellGrid) -> tuple[Float32Array, Float32Array]:
    """Centres of the blocks, px: x [1, 1, columns] and y [1, rows, 1]."""
    _, rows, columns = grid.block_shape
    half = (grid.block_px - 1) / 2
    x = np.arange(columns, dtype=np.float32) * grid.block_px + np.float32(half)
    y = np.arange(rows, dtype=np.float32) * grid.block_px + np.float32(half)
    return x[None, None, :], y[None, :, None]


def moved_blocks(motion: Float32Array, grid: CellGrid) -> MovedBlocks:
    """Find where each block of a tube was in the tube before, by maps float32 [k, 2, 3] between their pixels."""
    planes, rows, columns = grid.block_shape
    centre_x, centre_y = block_centres(grid)
    m = motion.astype(np.float32)[:, :, :, None, None]
    # A shift alone leaves x [k, 1, columns] and y [k, rows, 1]: most tubes need no more.
    x, y = m[:, 0, 0] * centre_x + m[:, 0, 2], m[:, 1, 1] * centre_y + m[:, 1, 2]
    if m[:, 0, 1].any() or m[:, 1, 0].any():
        x, y = x + m[:, 0, 1] * centre_y, y + m[:, 1, 0] * centre_x
    column = np.floor((x + 0.5) / grid.block_px).astype(np.int32)
    row = np.floor((y + 0.5) / grid.block_px).astype(np.int32)
    inside_column, inside_row = np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
    outside = (column != inside_column) | (row != inside_row)
    plane = np.arange(planes, dtype=np.int32)[:, None, None]
    index = (plane * rows + inside_row) * columns + inside_column
    return MovedBlocks(index.astype(np.intp), x, y, outside)


def _beyond(place: Float32Array, size_px: int) -> BoolArray:
    """Places, along one axis, outside a frame of that size."""
    return (place < -0.5) | (place > size_px - 0.5)


def _mostly(blocks: BoolArray, grid: CellGrid) -> BoolArray:
    """Cells of which more than MAX_INVENTED_SHARE of the blocks are set."""
    per_cell = grid.cell_px // grid.block_px
    strips = blocks.view(np.uint8).reshape(-1, grid.rows, per_cell, blocks.shape[2])
    columns = np.add.reduce(strips, axis=(0, 2), dtype=np.uint16)  # [H, columns of blocks]
    count = columns.reshape(grid.rows, grid.columns, per_cell).sum(axis=2)
    return count > MAX_INVENTED_SHARE * grid.tube_frames * per_cell**2
