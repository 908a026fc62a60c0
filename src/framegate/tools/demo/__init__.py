"""A page in the browser: one question to the dense model and behind a front end, and what was encoded."""
