"""Vision towers on kept cells alone, and what frames become for them; nothing here knows a model family."""
