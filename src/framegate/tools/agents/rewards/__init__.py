"""Rewards of video agents, as TRL calls them: `fn(completions, **columns) -> list[float]`, one number a completion.

Each maker binds its settings and names the columns of the data that its reward reads; others are passed over, and no
completion makes a reward raise. SeViLA's reverse chain labels frames instead: `framegate.models.scorers.pseudo_labels`.
"""

from framegate.tools.agents.rewards.ccv import Broken, ccv_validate
from framegate.tools.agents.rewards.chronoforge import contrast_reward
from framegate.tools.agents.rewards.completion import for_verl
from framegate.tools.agents.rewards.earl import earl_reward
from framegate.tools.agents.rewards.frame_thinker import frame_thinker_reward
from framegate.tools.agents.rewards.love_r1 import love_r1_grounding_reward, love_r1_qa_reward

__all__ = [
    "Broken",
    "ccv_validate",
    "contrast_reward",
    "earl_reward",
    "for_verl",
    "frame_thinker_reward",
    "love_r1_grounding_reward",
    "love_r1_qa_reward",
]
