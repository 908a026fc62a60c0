"""Apollo's connector: two encoders on one grid, and so many tokens a clip whatever the clip's size."""

from framegate.models.apollo.connector import ApolloConnector
from framegate.models.apollo.encoders import ClipEncoder, FrameEncoder
from framegate.models.apollo.resampler import Resampler

__all__ = ["ApolloConnector", "ClipEncoder", "FrameEncoder", "Resampler"]
