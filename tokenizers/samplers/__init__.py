"""Frame samplers, one file each: the file's name is the sampler's, and its `sample` is all that it has to offer."""
