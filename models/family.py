"""What a model family is: the facts in which supported classes differ, one `Family` a file of models/families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor

from framegate.models.extra_placeholders import ExtraPlaceholders
from framegate.models.towers.grid_geometry import JudgedSize
from framegate.models.towers.patches import PatchLayout, Scaling
from framegate.tokenizers.clip.pixels import Resample
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

Values = dict[str, Any]
# as pyproject.toml has it
LOWEST_TRANSFORMERS = "5.19"


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """What a family's video processor is set to for one call, checked.

    Args:
        layout: how frames are cut into patches and scaled.
        size_rule: the family's; number of frames, height and width of the source, and these settings to the size at
            which the tower sees the video.
        content_rule: the same to the size of frames that do not fill that one, with black at their right and bottom;
            None where they fill it.
        min_pixels: least pixels of a frame (of a whole video where counts_time is set).
        max_pixels: most pixels, counted like min_pixels.
        counts_time: pixels are counted over all frames, and frames in memory are spread evenly (Qwen3-VL).
        cap_pixels_per_frame: bound each frame as well, by max_video_tokens.
        max_video_tokens: the bound's tokens: per video, or per frame where counts_time is set.
        sample_rule: how frames in memory are sampled: their number, their rate (None when unknown) and these settings
            to indices; None for the rule of Qwen-VL.
        do_resize: False takes frames at their own size.
        resample: "bicubic", "bilinear" or "lanczos".
        do_sample_frames: frames in memory are sampled, by the stock rule.
        fps: frames per second for that rule.
        num_frames: number of frames for that rule.
        min_frames: fewest frames for that rule.
        max_frames: most frames for that rule.
        judged: how the gate judges frames whose patches the tower pools to cells; None where cells are whole patches.
        takes_bounds: whoever asks for a video may bound the size of its frames; else the size rule alone decides.
        stock: all settings by their names in transformers, for rules that read others than these.
        shorter_edge_px: frames are scaled so that their shorter side has so many pixels, and the tower sees the middle;
            None where it sees whole frames.
        longer_edge_px: frames are scaled so that their longer side has so many pixels, and then to what the tower sees;
            None where they are scaled once.
    """

    layout: PatchLayout
    size_rule: SizeRule
    min_pixels: int
    max_pixels: int
    counts_time: bool
    cap_pixels_per_frame: bool
    max_video_tokens: int
    do_resize: bool
    resample: Resample
    sample_rule: SampleRule | None
    do_sample_frames: bool
    fps: float | None
    num_frames: int | None
    min_frames: int
    max_frames: int
    judged: JudgedSize | None = None
    takes_bounds: bool = True
    content_rule: SizeRule | None = None
    stock: Mapping[str, Any] = field(default_factory=dict)
    shorter_edge_px: int | None = None
    longer_edge_px: int | None = None

    @property
    def cell_layout(self) -> PatchLayout:
        """The size of cells and tubes as the gate judges them."""
        if self.judged is None:
            return self.layout
        return replace(self.layout, merge_size=self.judged.cell_px // self.layout.patch_size_px)

    def cells_of(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells of a frame at tower size."""
        if self.judged is not None:
            size_px = (self.judged.judged_px, self.judged.judged_px)
        return size_px[0] // self.cell_layout.cell_px, size_px[1] // self.cell_layout.cell_px


class Square(NamedTuple):
    """How square frames are made and cut.

    Args:
        side_px: their side.
        patch_px: side of a patch.
        cell_patches: patches along the side of a cell.
        shorter_edge_px: see VideoSettings.
        longer_edge_px: see VideoSettings.
    """

    side_px: int
    patch_px: int
    cell_patches: int
    shorter_edge_px: int | None = None
    longer_edge_px: int | None = None


SizeRule = Callable[[int, int, int, VideoSettings], tuple[int, int]]
SampleRule = Callable[[int, float | None, VideoSettings], Int64Array]


@dataclass(frozen=True, kw_only=True)
class ProcessorRecipe:
    """What a family's processor is put together from, with torchvision or without.

    Args:
        processor: name of the class in transformers.
        image_processor: module under transformers.models and class, of the one that works without torchvision.
        arguments: arguments of the processor's own that its files hold.
        built: settings of the video processor to arguments of image processor and processor, for a processor that is
            built by defaults.
        video_values: the stock video processor's settings by their names in transformers, its class among them as
            "video_processor_type".
        model_values: settings that its stock processor does not have, for it leaves them to the model.
        cell_patches: patches along the side of a cell, for families that bring every frame to one square size; None for
            the others, whose processors say it.
        square: settings to how frames are brought to that size and cut, where checkpoints differ in it; None for the
            one size, `cell_patches` and the patches of `model_values`.
        told: what files of its checkpoints say, to settings by their names in transformers, where files use others.
        caps_frames: num_frames is the most frames beside an fps, and chat templates pass both on in every call.
        size_rule: how large the tower sees a video.
        content_rule: see VideoSettings.
        bounds: settings to least and most pixels of a frame, for processors that say the size of frames by other names;
            it refuses settings that are not served.
        sizes_key: under which its stock processor hands over the dense size of each video, by which it counts
            placeholders.
        sample_rule: see VideoSettings; None for that of Qwen-VL.
        counts_time: see VideoSettings.
        finish: completes what the video processor hands over, by its settings, the metadata of the frames that went in
            (video_metadata), and what decides on cells.
        video_text: processor, tubes, rows and columns of cells, and metadata of the frames, to the text that stands for
            a video; None for the stock processor's own, which can count them.
        pictures_beside: a picture may stand beside a video in one call of the processor.
        feature_extractor: name of the class in transformers that reads sound; None for processors without.
        tube_seconds_key: under which its stock processor hands over the seconds of a tube by a rate that it assumes;
            where the frames' own rate is known, it is put right. None where the stock processor reads it.
        assumed_fps: rate that its processor writes or reads times by where nobody tells one; None for 24.
        not_followed: settings of its stock video processor that have to be off, and why, with what to do instead.
    """

    processor: str
    image_processor: tuple[str, str]
    arguments: tuple[str, ...] = ()
    built: Callable[[Mapping[str, Any]], tuple[Values, Values]]
    video_values: Mapping[str, Any]
    model_values: Mapping[str, Any] = field(default_factory=dict)
    cell_patches: int | None = None
    square: Callable[[Mapping[str, Any]], Square] | None = None
    told: Callable[[Mapping[str, Any]], Values] = dict
    caps_frames: bool = False
    size_rule: SizeRule
    content_rule: SizeRule | None = None
    bounds: Callable[[Mapping[str, Any]], tuple[int, int]] | None = None
    sizes_key: str = "video_grid_thw"
    sample_rule: SampleRule | None = None
    counts_time: bool = False
    finish: Callable[[dict[str, Tensor], Mapping[str, Any], PlanConfig], dict[str, Tensor]] | None = None
    video_text: Callable[[Any, tuple[int, int, int], Any], str] | None = None
    pictures_beside: bool = True
    feature_extractor: str | None = None
    tube_seconds_key: str | None = None
    assumed_fps: float | None = None
    not_followed: Mapping[str, str] = field(default_factory=dict)

    def image_processor_class(self) -> Any:
        """The class, imported when it is needed."""
        module, name = self.image_processor
        return getattr(import_module(f"transformers.models.{module}"), name)


@dataclass(frozen=True, kw_only=True)
class TinyRecipe:
    """How a family's model of a few hundred thousand parameters is made, for tests and `framegate run --family`.

    Args:
        config: tokenizer, and settings of the vision and of the text configuration to replace, to the configuration.
        tokens: special tokens beside those that all families share.
        video_mark: what stands for a video in its chat template.
        image_mark: what stands for a picture.
        size: bounds of the video size rule; empty for the family's own.
        token_names: attributes that the family's processor reads from a tokenizer, and their tokens.
    """

    config: Callable[[Any, Values, Values], Any]
    tokens: tuple[str, ...] = ()
    video_mark: str = "<|vision_start|><|video_pad|><|vision_end|>"
    image_mark: str = "<|vision_start|><|image_pad|><|vision_end|>"
    size: Mapping[str, int] = field(default_factory=dict)
    token_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One supported model family.

    Args:
        model_type: `config.model_type` of its checkpoints, and the name of its file.
        model_class: the class with a language-model head.
        tower: kind of its vision tower, a file of models/towers: "packed", "reordered", "framewise", "grid", "frames".
        bind: the model without its head, this family and how pixels were scaled, to what the attachment calls
            (`framegate.models.mechanism.Mechanism`).
        recipe: how its processor is made.
        tiny: how its tiny model is made.
        processors_of: model types of families whose processors its checkpoints come with as well.
        lowest_transformers: release of transformers before which it is not served.
        needs: packages beside transformers that its classes rest on.
        positions: how the language model places tokens.
        timestamps: where the prompt carries time, in words.
        writes_times: the processor writes a time before every tube itself, so that stamps would say it twice.
        takes_stamps: stamps can stand between its tubes; False where each tube has marks of its own around it.
        reads_times: the processor or the model reads the frames' times, stamps or not.
        time_ids_per_second: steps of the position axis of time in a second, cut to whole numbers; None where the axis
            counts tubes.
        extra: placeholders of a video that stand for no cell.
        tower_modules: names of the modules that make up the tower, of which the first is called.
        merger_modules: names of the modules between tower and language model.
        video_size: bounds of the video size rule that released checkpoints set, where they are not the defaults of
            the class: "shortest_edge" and "longest_edge" in pixels.
        learned_positions: a learned position embedding enters the tower's keys and values.
        contexts: what a kept patch may see in the tower, of FrontEndConfig.context.
        serves_live: a live session makes prompts of tokens that it holds, proven by tests.
        notes: what a user should know.
    """

    model_type: str
    model_class: str
    tower: str = "packed"
    bind: Callable[[Any, Family, Scaling], Any]
    recipe: ProcessorRecipe
    tiny: TinyRecipe
    processors_of: tuple[str, ...] = ()
    lowest_transformers: str = LOWEST_TRANSFORMERS
    needs: tuple[str, ...] = ()
    positions: str = "M-RoPE"
    timestamps: str = "none"
    writes_times: bool = False
    takes_stamps: bool = True
    reads_times: bool = False
    time_ids_per_second: float | None = None
    extra: ExtraPlaceholders = ExtraPlaceholders()
    tower_modules: tuple[str, ...] = ("visual",)
    merger_modules: tuple[str, ...] = ("merger",)
    video_size: Mapping[str, int] = field(default_factory=dict)
    learned_positions: bool = False
    contexts: tuple[str, ...] = ("kept", "anchored")
    serves_live: bool = False
    notes: str = ""

    @property
    def saves(self) -> tuple[str, ...]:
        """Where skipped cells cost nothing: the same of every family, by the contract that all are held to."""
        return "tower", "prompt"

    @property
    def scales_frames(self) -> bool:
        """True where the tower takes frames of any size, so that a budget can be met by smaller frames."""
        return self.recipe.cell_patches is None and self.recipe.bounds is None

    @property
    def scaling(self) -> Scaling:
        """How its processor scales pixels where neither a processor nor a checkpoint says otherwise."""
        return Scaling(mean=self.image_mean, std=self.image_std, assumed=True)

    @property
    def image_mean(self) -> tuple[float, ...]:
        """Per-channel mean that its processor subtracts, RGB, in [0, 1]."""
        return tuple(self.recipe.video_values["image_mean"])

    @property
    def image_std(self) -> tuple[float, ...]:
        """Per-channel spread that its processor divides by, RGB."""
        return tuple(self.recipe.video_values["image_std"])

    def row(self) -> dict[str, Any]:
        """What a user reads of it in `framegate.supported_models()`."""
        names = ("model_type", "model_class", "tower", "positions", "timestamps", "image_mean", "image_std")
        more = (
            "learned_positions",
            "contexts",
            "saves",
            "scales_frames",
            "lowest_transformers",
            "needs",
            "notes",
        )
        return {name: getattr(self, name) for name in (*names, *more)}
