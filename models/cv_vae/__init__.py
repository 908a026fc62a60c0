"""CV-VAE: a causal video VAE made of an image VAE, its regularisation, and its latents as tokens of a video.

Needs diffusers for the image VAE: pip install "framegate[latents]".
"""

from framegate.models.cv_vae.latent_tokens import LatentVideoTokens
from framegate.models.cv_vae.regularisation import (
    decoder_regularisation,
    encoder_regularisation,
    frames_of_latents,
)
from framegate.models.cv_vae.video_vae import CausalVideoVAE

__all__ = [
    "CausalVideoVAE",
    "LatentVideoTokens",
    "decoder_regularisation",
    "encoder_regularisation",
    "frames_of_latents",
]
