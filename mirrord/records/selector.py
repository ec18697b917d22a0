"""Selectors: which records are meant, by their tag. ``["tag","Eq","X"]``, ``["tag","Glob","P*"]``, or short ``"X"``."""

from __future__ import annotations

from msgspec import Struct

from ..errors import InvalidRequest

EQ, GLOB = "Eq", "Glob"
MOST_TAG_BYTES = 256  # a longer tag stands on no record


class Selector(Struct, frozen=True):
    """A predicate over tags. An untagged record never matches; a glob is a literal prefix (``""``: every tag)."""

    op: str
    text: str  # the tag, or the prefix without its star

    def matches(self, tag: str | None) -> bool:
        """Whether a record with this tag is meant."""
        if tag is None:
            return False
        return tag == self.text if self.op == EQ else tag.startswith(self.text)

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for all tags that begin so."""
        return self.op == GLOB

    def as_json(self) -> list[str]:
        """The canonical tuple."""
        return ["tag", self.op, self.text + ("*" if self.op == GLOB else "")]


def selector(value: object) -> Selector:
    """What a request's ``match`` means. Raises InvalidRequest, with what to send instead."""
    if isinstance(value, str):
        return Selector(GLOB, _checked(value[:-1])) if value.endswith("*") else Selector(EQ, _checked(value))
    if not isinstance(value, list) or len(value) != 3:
        raise InvalidRequest('match is ["tag","Eq","X"], ["tag","Glob","P*"], "X" or "P*"', {"field": "match"})
    subject, op, text = value
    if subject != "tag":
        raise InvalidRequest('match: only "tag" can be matched', {"field": "match"})
    if op not in (EQ, GLOB) or not isinstance(text, str):
        raise InvalidRequest('match: the operation is "Eq" or "Glob", with a text behind it', {"field": "match"})
    if op == EQ:
        return Selector(EQ, _checked(text))
    if not text.endswith("*"):
        raise InvalidRequest("match: a Glob is a prefix with one * at its end", {"field": "match"})
    return Selector(GLOB, _checked(text[:-1]))


def _checked(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MOST_TAG_BYTES:
        raise InvalidRequest(f"match: tags have at most {MOST_TAG_BYTES} bytes", {"field": "match"})
    return text
