"""The same rewards in the form of other trainers; ms-swift takes `fn(completions, **columns)` as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framegate.tools.agents.rewards.completion import Reward


def for_verl(reward: Reward) -> Callable[..., float]:
    """Give a reward verl's form.

    Args:
        reward: of this package; its column `answer` is verl's ground truth, the others are keys of `extra_info`.

    Returns:
        `compute_score(data_source, solution_str, ground_truth, extra_info)`, for `custom_reward_function`.

    Raises:
        ConfigError: from the function, a key that the reward needs and `extra_info` lacks.
    """

    def compute_score(
        data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None
    ) -> float:
        columns = {name: [value] for name, value in (extra_info or {}).items()}
        return reward([solution_str], **columns | {"answer": [ground_truth]})[0]

    return compute_score
