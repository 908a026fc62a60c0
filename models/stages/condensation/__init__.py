"""Condensation (KFFocus): fewer tokens per tube by area pooling, the ratio chosen by the tube's relevance."""
