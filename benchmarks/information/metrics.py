"""How much of the source frames the shown ones still tell. Frames are uint8 [F, h, w, 3] RGB."""

import cv2
import numpy as np

WINDOW_PX, SIGMA_PX = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def spread(count, most):
    """At most so many positions of count, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def psnr_db(source, shown):
    """PSNR of the squared error pooled over all frames and channels; infinite when nothing differs."""
    error = sum(cv2.norm(a.ravel(), b.ravel(), cv2.NORM_L2SQR) for a, b in zip(source, shown, strict=True))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 * source.size / error))


def ssim(source, shown):
    """SSIM of luma, mean of the frames' means.

    Source: Wang et al. 2004, section III.C: Gaussian window of 11 px, sigma 1.5, only windows inside the frame.
    """
    return float(np.mean([frame_ssim(luma(a), luma(b)) for a, b in zip(source, shown, strict=True)]))


def luma(frame):
    """Luma of a frame, float32 [h, w]."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def windowed(image):
    """Gaussian means of an image where whole windows fit."""
    edge = WINDOW_PX // 2
    return cv2.GaussianBlur(image, (WINDOW_PX, WINDOW_PX), SIGMA_PX)[edge:-edge, edge:-edge]


def frame_ssim(a, b):
    """Mean SSIM of two float32 images [h, w] in 0 to 255."""
    mean_a, mean_b = windowed(a), windowed(b)
    means = mean_a * mean_a + mean_b * mean_b
    product = mean_a * mean_b
    covariance = windowed(a * b) - product
    # only the sum of the two variances is asked for, so one window does for both
    variances = windowed(a * a + b * b) - means
    return float(np.mean((2 * product + C1) * (2 * covariance + C2) / ((means + C1) * (variances + C2))))
