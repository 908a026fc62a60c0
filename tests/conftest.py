"""Every test starts from the same seeds, offline, and leaves the random state as it found it."""

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    # before anything imports triton: kernels then run on the CPU, as slow as their loops
    os.environ.setdefault("TRITON_INTERPRET", "1")

# on models this small threads wait for one another longer than they work: three times the time on two busy cores
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start

# a busy machine must not fail a property, and a failure must come back on the next run
settings.register_profile("framegate", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("framegate")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@pytest.fixture(autouse=True)
def _seeded():
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


def pytest_runtest_setup(item):
    if "gpu" not in item.keywords:
        return
    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1, and there is no CUDA device")
    pytest.skip("needs a CUDA device")
