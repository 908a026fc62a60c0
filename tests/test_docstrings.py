"""Public functions say what they take and give."""

import inspect
from importlib import import_module
from pathlib import Path

import framegate

ROOT = Path(__file__).parents[1]


def exported():
    """Functions of the face and of every folder that lists what it exports."""
    found = {f"framegate.{name}": getattr(framegate, name) for name in framegate.__all__}
    for shelf in ("models", "kernels", "tokenizers"):
        for path in sorted((ROOT / shelf).glob("*/__init__.py")):
            dotted = f"framegate.{shelf}.{path.parent.name}"
            module = import_module(dotted)
            found |= {f"{dotted}.{name}": getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in found.items() if inspect.isfunction(value)}


def missing_from(function):
    """What its docstring leaves out: sections, and parameters by name."""
    text, signature = inspect.getdoc(function) or "no docstring", inspect.signature(function)
    wanted = ["Args:"] if signature.parameters else []
    wanted += ["Returns:"] if signature.return_annotation not in ("None", None) else []
    missing = [part for part in wanted if part not in text]
    documented = text[text.find("Args:") :]
    for parameter in signature.parameters.values():
        ignored = parameter.kind is parameter.VAR_KEYWORD and parameter.name == "_"
        if not ignored and f"{parameter.name}:" not in documented:
            missing.append(parameter.name)
    return missing


def test_every_docstring_is_whole():
    culprits = {name: missing_from(function) for name, function in sorted(exported().items())}
    assert {name: missing for name, missing in culprits.items() if missing} == {}


def test_a_docstring_with_a_hole_is_told():
    def half(side_px: int, *, ratio: float) -> int:
        return side_px

    half.__doc__ = "Do something.\n\nArgs:\n    side_px: of the frame."
    assert missing_from(half) == ["Returns:", "ratio"]
    assert missing_from(lambda: None) == ["Returns:"]
