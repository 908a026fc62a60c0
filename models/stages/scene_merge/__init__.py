"""Scene merging (GRT, stage 2): scenes that show the same share their key tokens."""
