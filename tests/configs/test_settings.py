"""What a user writes, checked by annotations: one coercer for configurations, samplers and training files."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from framegate import settings
from framegate.errors import ConfigError
from framegate.settings import (
    Count,
    Positive,
    Share,
    check,
    checked,
    laid_over,
    make,
    names,
    sections,
    spelled,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    side: Count = 1
    kind: Literal["round", "square"] = "round"


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: Positive = 2.0
    share: Share | None = None
    name: str = "outer"
    fast: bool = False
    ratios: tuple[Share, ...] = ()
    pair: tuple[int, int] = (1, 2)
    options: dict[str, Any] = field(default_factory=dict)
    limit: Count | Literal["all"] = "all"
    inner: Inner = field(default_factory=Inner)
    other: Inner | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Outer()),
        ({"rate": 3}, Outer(rate=3)),
        ({"rate": "1e-4"}, Outer(rate=1e-4)),
        ({"rate": np.float32(0.5)}, Outer(rate=0.5)),
        ({"limit": np.int64(3)}, Outer(limit=3)),
        ({"limit": "all"}, Outer()),
        ({"ratios": [0.5, 1]}, Outer(ratios=(0.5, 1))),
        ({"pair": [3, 4]}, Outer(pair=(3, 4))),
        ({"options": {"a": 1}}, Outer(options={"a": 1})),
        ({"inner": {"side": 4}, "other": {}}, Outer(inner=Inner(side=4), other=Inner())),
        ({"other": Inner(side=2)}, Outer(other=Inner(side=2))),
        ({"anything": object}, Outer(anything=object)),
    ],
)
def test_values_take_the_types_of_their_annotations(values, expected):
    made = make(Outer, values)
    assert made == expected
    assert {type(value) for value in (made.rate, *made.ratios)} <= {int, float}
    assert make(Outer, spelled(made)) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 1}, r"Unknown setting 'a\.rat'\. Did you mean 'rate'\?"),
        ({1: 2}, r"Unknown setting 'a\.1'\."),
        (
            {"inner": {"sid": 1}},
            r"Unknown setting 'a\.inner\.sid'\. Did you mean 'side'\? Known: kind, side\.",
        ),
        ({"other": {"side": 0}}, r"a\.other\.side is 0; it must be at least 1\."),
        ({"rate": 0}, r"a\.rate is 0; it must be above 0 and finite\."),
        ({"rate": float("inf")}, r"a\.rate is inf; it must be above 0"),
        ({"rate": True}, r"a\.rate is True; it must be a number\."),
        ({"rate": "1"}, r"a\.rate is '1'; it must be a number\."),
        ({"rate": None}, r"a\.rate is None; it must be a number\."),
        ({"share": float("nan")}, r"a\.share is nan; it must be in \(0, 1\]\."),
        ({"share": "half"}, r"a\.share is 'half'; it must be a number or None\."),
        ({"limit": 2.5}, r"a\.limit is 2\.5; it must be a whole number or 'all'\."),
        ({"limit": 0}, r"a\.limit is 0; it must be at least 1\."),
        ({"name": 3}, r"a\.name is 3; it must be text\."),
        ({"fast": 1}, r"a\.fast is 1; it must be true or false\."),
        ({"ratios": 0.5}, r"a\.ratios is 0\.5; it must be a list\."),
        ({"ratios": [0.5, 2]}, r"a\.ratios\[1\] is 2; it must be in \(0, 1\]\."),
        ({"pair": [1]}, r"a\.pair is \[1\]; it must be a list of 2\."),
        ({"options": 3}, r"a\.options is 3; it must be a mapping\."),
        ({"inner": 3}, r"a\.inner is 3; it must be a mapping of kind, side\."),
        ({"inner": {"kind": "sqare"}}, r"a\.inner\.kind is 'sqare'\. Did you mean 'square'\?"),
    ],
)
def test_what_does_not_fit_is_told_with_place_value_and_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        make(Outer, values, "a")


def test_settings_that_are_gone_are_refused_with_what_replaces_them(monkeypatch):
    monkeypatch.setitem(settings.REPLACED, "headroom", "ratio")
    with pytest.raises(ConfigError, match=r"The setting 'a\.headroom' is gone; what replaces it: ratio\."):
        make(Outer, {"headroom": 1.5}, "a")
    monkeypatch.setitem(settings.REPLACED, "kind=oblong", "kind='square'")
    with pytest.raises(
        ConfigError, match=r"a\.inner\.kind 'oblong' is gone; what replaces it: kind='square'"
    ):
        make(Outer, {"inner": {"kind": "oblong"}}, "a")


def test_a_dataclass_can_check_itself():
    @dataclass(frozen=True, kw_only=True)
    class Checked:
        sides: tuple[Count, ...] = (1,)

        def __post_init__(self):
            check(self, "gate")

    assert Checked(sides=[1, 2]).sides == (1, 2)
    with pytest.raises(ConfigError, match=r"gate\.sides\[0\] is 0"):
        Checked(sides=[0])


def test_a_function_can_check_its_keywords():
    @checked
    def shout(word: str, *, times: Count, loud: bool = True) -> str:
        return word * times + "!" * loud

    assert shout("a", times=np.int64(2)) == "aa!"
    for keywords, message in (
        ({"tims": 2}, r"Unknown setting 'test_settings\.tims'\. Did you mean 'times'"),
        ({"times": 0}, r"test_settings\.times is 0; it must be at least 1"),
        ({"loud": False}, "needs times; its settings are times, loud"),
    ):
        with pytest.raises(ConfigError, match=message):
            shout("a", **keywords)


def test_sections_are_read_off_the_annotations():
    assert sections(Outer) == {"inner": Inner, "other": Inner}
    assert names(Inner) == {"side", "kind"}
    assert laid_over(Inner, None, {"side": 2}) == {"side": 2}
    assert laid_over(Inner, {"side": 1, "kind": "round"}, {"side": 2}) == {"side": 2, "kind": "round"}
