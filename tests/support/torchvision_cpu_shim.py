"""Lets the torchvision wheel that was built for CUDA import beside a CPU torch (test environments alone).

That wheel's compiled part needs CUDA libraries; without it torchvision fails at import with "operator
torchvision::nms does not exist", and with it every vision class of transformers. Declaring the two missing
operators is enough for everything that the stock processors use.
"""

import sys
from importlib.machinery import PathFinder


class _Finder:
    """Wraps the loader of torchvision, and nothing else."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module):
            import torch

            if torch.version.cuda is None:
                library = torch.library.Library("torchvision", "DEF")
                library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                module.__dict__["_cpu_shim_library"] = library
            load(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
