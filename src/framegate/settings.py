"""What a user writes, turned into what the code takes: unknown names refused, values checked by their annotations.

One place for configurations, sampler settings and training files. An annotation says all that is checked: `int`,
`float`, `str`, `bool`, `Literal[...]`, `X | None`, `tuple[X, ...]`, `dict[...]`, dataclasses, and ranges (`Count`,
`Positive`, `Share`, or `Annotated[float, Range(...)]`). Anything else passes as it is.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from framegate.errors import ConfigError, nearest

T = TypeVar("T")
P = ParamSpec("P")

# settings, and values of settings, whose meaning went -> what replaces them, for the message that refuses them
REPLACED: dict[str, str] = {
    "max_age": "max_age_tubes",
    "gate_headroom": "tower_ratio, the share of cells that the tower encodes",
    "pruning": "select, with select_rule for pruner",
    "pruner": "select_rule",
    "scales": "nothing, for every token stands for one cell",
    "encoder": "scorer",
    "search=quick": "search='optimum'",
    "on_too_long=error": "on_too_long='raise'",
}

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a mapping",
    NoneType: "None",
}
# numbers that YAML 1.1 as PyYAML reads it takes for text
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds of a number, beside being finite: `least` and `most` are allowed themselves, `above` and `below` are not.

    Args:
        least: lower bound; this or `above` is given.
        above: lower bound that itself is not allowed.
        most: upper bound, None for none.
        below: upper bound that itself is not allowed, None for none.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Tell whether a number lies inside; NaN and infinity never do."""
        return math.isfinite(value) and not (
            (self.least is not None and value < self.least)
            or (self.above is not None and value <= self.above)
            or (self.most is not None and value > self.most)
            or (self.below is not None and value >= self.below)
        )

    def __str__(self) -> str:
        if self.most is None and self.below is None:
            if self.least is None:
                return f"above {self.above} and finite"
            return f"at least {self.least}" if self.least else "0 or more"
        low = f"({self.above}" if self.least is None else f"[{self.least}"
        high = f"{self.below})" if self.most is None else f"{self.most}]"
        return f"in {low}, {high}"


Count = Annotated[int, Range(least=1)]
Positive = Annotated[float, Range(above=0)]
Share = Annotated[float, Range(above=0, most=1)]
_PER_CALL = "given with each call"
# an argument that a configuration never holds: a window, a query, a scorer
PerCall = Annotated[T, _PER_CALL]


def make(cls: type[T], values: Mapping[str, Any], place: str = "", *, what: str = "setting") -> T:
    """Make a dataclass from what a user wrote.

    Args:
        cls: the dataclass; one that defines `from_settings(values, place)` is made by it.
        values: its fields by name; fields that are dataclasses take mappings of their own.
        place: dotted name of where the values stand, "" at the top.
        what: what a field is called in messages.

    Raises:
        ConfigError: an unknown name (the message tells the nearest one, or what replaced it), or a value that does not
            fit; place, value and what would work are told.
    """
    own: Callable[..., T] | None = getattr(cls, "from_settings", None)
    return cls(**read_all(values, settings_of(cls), place, what=what)) if own is None else own(values, place)


def check(instance: Any, place: str) -> None:
    """Check the fields of a frozen dataclass by their annotations, in its `__post_init__`; lists become tuples.

    Raises ConfigError, with the dotted place, for a value that does not fit.
    """
    for name, annotation in settings_of(type(instance)).items():
        object.__setattr__(instance, name, read(getattr(instance, name), annotation, _dotted(place, name)))


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function check its keyword-only arguments by their annotations whenever it is called.

    It raises ConfigError for what is unknown, missing or does not fit; its file's name is the place that messages tell.
    """
    place = function.__module__.rpartition(".")[2]

    @wraps(function)
    def call(*args: P.args, **settings: P.kwargs) -> T:
        known = settings_of(function)
        given: Any = read_all(settings, known, place)
        if missing := [name for name in known if name not in {**defaults(function), **given}]:
            raise ConfigError(f"{place!r} needs {', '.join(missing)}; its settings are {', '.join(known)}.")
        return function(*args, **given)

    return call


def read_all(
    values: Mapping[str, Any], known: Mapping[str, Any], place: str = "", *, what: str = "setting"
) -> dict[str, Any]:
    """Check names, then values by the annotations of the known names; as `make`, without making anything."""
    for name in values:
        if name not in known:
            raise unknown(str(name), known, place, what=what)
    return {name: read(value, known[name], _dotted(place, name)) for name, value in values.items()}


def unknown(name: str, known: Iterable[str], place: str = "", *, what: str = "setting") -> ConfigError:
    """Word the error for a name that is not known: what replaced it, or the nearest one."""
    spelt = repr(_dotted(place, name))
    if name in REPLACED:
        return ConfigError(f"The {what} {spelt} is gone; what replaces it: {REPLACED[name]}.")
    return ConfigError(f"Unknown {what} {spelt}. {nearest(name, known)}")


def read(value: Any, annotation: Any, place: str) -> Any:
    """Check one value by an annotation, a type as in the module's first lines; ConfigError where it does not fit."""
    options = _options(annotation)
    failed: ConfigError | None = None
    for option in options:
        try:
            return _read_one(value, option, place)
        except _OtherKindError:
            continue
        except ConfigError as error:
            failed = failed or error
    raise failed or ConfigError(f"{place} is {value!r}; it must be {' or '.join(map(_worded, options))}.")


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated and _PER_CALL in annotation.__metadata__:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


class _OtherKindError(ConfigError):
    """A value is of another kind than an annotation asks for; another one of a union may fit."""


def _read_one(value: Any, option: Any, place: str) -> Any:
    origin = get_origin(option)
    if origin is Annotated:
        return _in_range(_read_one(value, get_args(option)[0], place), get_args(option)[1:], place)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(option)):
            return value
        if isinstance(value, str):
            if (spelt := f"{place.rpartition('.')[2]}={value}") in REPLACED:
                raise ConfigError(f"{place} {value!r} is gone; what replaces it: {REPLACED[spelt]}.")
            raise ConfigError(f"{place} is {value!r}. {nearest(value, map(str, get_args(option)))}")
        raise _OtherKindError
    if origin is tuple:
        return _read_tuple(value, get_args(option), place)
    if dataclasses.is_dataclass(option) and isinstance(option, type):
        if isinstance(value, Mapping):
            return make(option, value, place)
        return _of_kind(value, option)
    if option is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if option in (int, float):
        number = _of_kind(value, Integral if option is int else Real)
        return number if type(number) in (int, float) else option(number)
    if option is dict or origin is dict:
        return _read_mapping(_of_kind(value, Mapping), get_args(option), place)
    return _of_kind(value, option) if option in (str, bool, NoneType) else value


def _of_kind(value: Any, kind: Any) -> Any:
    # True is an Integral, and never meant as a number
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (Integral, Real)):
        raise _OtherKindError
    return value


def _in_range(value: Any, bounds: tuple[Any, ...], place: str) -> Any:
    for bound in bounds:
        if isinstance(bound, Range) and not bound.holds(value):
            raise ConfigError(f"{place} is {value}; it must be {bound}.")
    return value


def _read_tuple(value: Any, kinds: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    values = _of_kind(value, list | tuple)
    if kinds[-1] is not Ellipsis and len(kinds) != len(values):
        raise _OtherKindError
    every = kinds[:1] * len(values) if kinds[-1] is Ellipsis else kinds
    return tuple(
        read(part, kind, f"{place}[{at}]") for at, (part, kind) in enumerate(zip(values, every, strict=True))
    )


def _read_mapping(values: Mapping[Any, Any], kinds: tuple[Any, ...], place: str) -> dict[Any, Any]:
    if not kinds:
        return dict(values)
    for key in values:
        if kinds[0] is str and not isinstance(key, str):
            raise ConfigError(f"{place} has the key {key!r}; it must be text.")
    return {key: read(value, kinds[1], f"{place}[{key!r}]") for key, value in values.items()}


def _worded(option: Any) -> str:
    if get_origin(option) is Annotated:
        return _worded(get_args(option)[0])
    if get_origin(option) is tuple:
        kinds = get_args(option)
        return "a list" if kinds[-1] is Ellipsis else f"a list of {len(kinds)}"
    if get_origin(option) is Literal:
        return " or ".join(map(repr, get_args(option)))
    if dataclasses.is_dataclass(option) and isinstance(option, type):
        return f"a mapping of {', '.join(sorted(names(option)))}"
    return _WORDS.get(get_origin(option) or option, str(getattr(option, "__name__", option)))


def settings_of(source: Any) -> dict[str, Any]:
    """List what can be set: the fields of a dataclass, or the keyword-only arguments of a function, annotated."""
    return dict(_annotated(source))


# annotations are text until they are read, which takes most of the time of a configuration
@cache
def _annotated(source: Any) -> dict[str, Any]:
    hints = get_type_hints(source, include_extras=True)
    if dataclasses.is_dataclass(source):
        return {field.name: hints[field.name] for field in dataclasses.fields(source) if field.init}
    return {name: hints.get(name, Any) for name in inspect.getfullargspec(inspect.unwrap(source)).kwonlyargs}


def saved_settings_of(function: Callable[..., Any]) -> dict[str, Any]:
    """List the keyword-only arguments of a function that a configuration may hold, annotated."""
    found = settings_of(function).items()
    return {name: hint for name, hint in found if _PER_CALL not in getattr(hint, "__metadata__", ())}


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Tell the defaults of a function's keyword-only arguments, where they have one."""
    return dict(inspect.unwrap(function).__kwdefaults__ or {})


def sections(cls: type) -> dict[str, type[Any]]:
    """List the fields of a dataclass that are dataclasses themselves, with their types."""
    found = {}
    for name, annotation in settings_of(cls).items():
        for option in get_args(annotation) or (annotation,):
            if dataclasses.is_dataclass(option) and isinstance(option, type):
                found[name] = option
    return found


def names(cls: type) -> set[str]:
    """Names of what can be set in a dataclass; one whose settings depend on a choice defines `setting_names()`."""
    own: Callable[[], Iterable[str]] | None = getattr(cls, "setting_names", None)
    return set(settings_of(cls)) if own is None else set(own())


def laid_over(cls: type, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings of a section over others; a section whose settings depend on a choice defines `laid_over`."""
    own: Callable[..., dict[str, Any]] | None = getattr(cls, "laid_over", None)
    below = _plain(below) or {}
    return {**below, **above} if own is None else own(below, above)


def spelled(instance: Any) -> dict[str, Any]:
    """Spell a dataclass as plain nested dicts, as `make` takes them; fields that define `to_dict` are spelled by it."""
    return {name: _plain(getattr(instance, name)) for name in settings_of(type(instance))}


def _plain(value: Any) -> Any:
    own: Callable[[], Any] | None = getattr(value, "to_dict", None)
    if own is not None:
        return own()
    return spelled(value) if dataclasses.is_dataclass(value) else value


def _dotted(place: str, name: str) -> str:
    return f"{place}.{name}" if place else str(name)
