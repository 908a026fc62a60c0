"""The motion gate: which cells of a video are encoded, and what stands for the others."""
