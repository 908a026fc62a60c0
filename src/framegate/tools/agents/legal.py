"""Which turns are legal, letter by letter: alternatives of literals, numbers in a range and free words.

No text is parsed here and no model is needed: `constrained.py` lets a model write nothing else, `speakers.py` draws at
random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Number:
    """A whole number without needless zeros.

    Args:
        least: the smallest.
        most: the largest; below `least` nothing fits.
        width: digits, filled up with zeros; None for as many as it has.
    """

    least: int
    most: int
    width: int | None = None

    def holds(self, written: str) -> bool:
        """Tell whether digits are such a number."""
        is_whole = len(written) == self.width if self.width else written == str(int(written or 0))
        return bool(written) and is_whole and self.least <= int(written) <= self.most

    def may_begin(self, written: str) -> bool:
        """Tell whether such a number begins with these digits."""
        if self.width is None and written[0] == "0":
            return written == "0" and self.least <= 0 <= self.most
        most = self.width or len(str(max(self.most, 0)))
        if len(written) > most:
            return False
        fewest = most - len(written) if self.width else 0
        value = int(written)
        return any(
            value * 10**more <= self.most and (value + 1) * 10**more > self.least
            for more in range(fewest, most - len(written) + 1)
        )


@dataclass(frozen=True)
class Words:
    """Any letters that can be printed, and line breaks.

    Args:
        most: letters after which no further token begins.
        without: letters that are none of it.
        least: fewest letters.
    """

    most: int = 200
    without: str = "<"
    least: int = 0

    def holds(self, letter: str) -> bool:
        """Tell whether a letter is one of it."""
        return (letter.isprintable() or letter == "\n") and letter != "\ufffd" and letter not in self.without


# a part may depend on the numbers before it
Part = str | Number | Words | Callable[[tuple[int, ...]], str | Number]
Alternative = tuple[Part, ...]


@dataclass(frozen=True)
class Legal:
    """All legal turns.

    Args:
        looks: alternatives that ask for more of the video.
        answers: alternatives that answer.
    """

    looks: tuple[Alternative, ...] = ()
    answers: tuple[Alternative, ...] = ()

    @cached_property
    def alternatives(self) -> tuple[Alternative, ...]:
        """Both."""
        return self.looks + self.answers

    def beginning(self) -> frozenset[Place]:
        """Places before the first letter."""
        return frozenset(Place(at) for at in range(len(self.alternatives)))

    def after(self, places: Iterable[Place], text: str) -> frozenset[Place]:
        """Places after a text; none where no legal turn goes on like that."""
        for letter in text:
            places = {step for place in places for step in self._step(place, letter)}
        return frozenset(places)

    def may_end(self, places: Iterable[Place]) -> bool:
        """Tell whether a turn is whole at one of the places."""
        return any(self._is_end(place) for place in places)

    def at_token(self, places: Iterable[Place]) -> frozenset[Place]:
        """Places as a new token begins: words that are full take no further one."""
        return frozenset(
            Place(place.alternative, place.part, place.written, place.numbers, True)
            if isinstance(part := self._part(place), Words) and len(place.written) >= part.most
            else place
            for place in places
        )

    def alike(self, places: Iterable[Place]) -> frozenset[Place]:
        """Forget how many words were written where it makes no difference for the next token."""
        return frozenset(
            Place(place.alternative, place.part, place.written[: part.least], place.numbers, place.is_full)
            if isinstance(part := self._part(place), Words)
            else place
            for place in places
        )

    def _part(self, place: Place) -> str | Number | Words | None:
        parts = self.alternatives[place.alternative]
        if place.part == len(parts):
            return None
        part = parts[place.part]
        return part(place.numbers) if callable(part) else part

    def _step(self, place: Place, letter: str) -> list[Place]:
        """Where one letter leads from a place."""
        part = self._part(place)
        if part is None:
            return []
        written = place.written + letter
        if isinstance(part, str):
            if part[len(place.written)] != letter:
                return []
            return [place.written_so_far(written) if written != part else place.behind()]
        if isinstance(part, Number):
            is_digit = letter.isascii() and letter.isdigit()
            stays = [place.written_so_far(written)] if is_digit and part.may_begin(written) else []
            return stays + (self._step(place.behind_number(), letter) if part.holds(place.written) else [])
        stays = [place.written_so_far(written)] if part.holds(letter) and not place.is_full else []
        return stays + (self._step(place.behind(), letter) if len(place.written) >= part.least else [])

    def _is_end(self, place: Place) -> bool:
        part = self._part(place)
        if part is None:
            return True
        if isinstance(part, Number):
            return part.holds(place.written) and self._is_end(place.behind_number())
        return isinstance(part, Words) and len(place.written) >= part.least and self._is_end(place.behind())


@dataclass(frozen=True)
class Place:
    """A place in an alternative: what of which part is written, and the numbers before it."""

    alternative: int
    part: int = 0
    written: str = ""
    numbers: tuple[int, ...] = ()
    is_full: bool = False

    def written_so_far(self, written: str) -> Place:
        """The same part with more of it written."""
        return Place(self.alternative, self.part, written, self.numbers, self.is_full)

    def behind(self) -> Place:
        """The beginning of the next part."""
        return Place(self.alternative, self.part + 1, "", self.numbers)

    def behind_number(self) -> Place:
        """The beginning of the part behind a number, which is kept."""
        return Place(self.alternative, self.part + 1, "", (*self.numbers, int(self.written)))
