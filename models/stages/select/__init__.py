"""Selection: which tokens of the filled grid the language model reads."""
