"""Public functions say what they take and give."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", sorted(exported()))
def test_docstring_is_whole(name):
    function = exported()[name]
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    wanted = ["Args:"] if signature.parameters else []
    wanted += ["Returns:"] if signature.return_annotation not in ("None", None) else []
    assert [part for part in wanted if part not in text] == []
    documented = text[text.find("Args:") :]
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD or parameter.name != "_":
            assert f"{parameter.name}:" in documented, parameter
