"""The names of the frame samplers and where they live; no sampler is imported here."""

# name -> module with a function `sample(info: VideoInfo, **settings) -> FramePlan`
SAMPLERS: dict[str, str] = {
    "fps": "framegate.tokenizers.fps",
    "keyframes": "framegate.tokenizers.keyframes",
    "tass": "framegate.tokenizers.tass",
    "uniform": "framegate.tokenizers.uniform",
}
