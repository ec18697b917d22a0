"""docs/CLIENT.md names what there is: every public name, every method, every parameter's default that it tells."""

from __future__ import annotations

import inspect
import re

import pytest

import mirrord
from mirrord.client.patience import GIVE_UP_AFTER_S, Patience

from .walk import ROOT

PAGE = (ROOT / "docs" / "CLIENT.md").read_text()
KINDS = ("Client", "Topic", "Producer", "Group", "GroupReader", "Delivery", "Queue", "Job")
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_every_call_is_told(kind: str) -> None:
    """A method that nobody reads about is not there."""
    for name, member in vars(getattr(mirrord, kind)).items():
        if not name.startswith("_") and inspect.isfunction(member) and name != "aclose":
            assert re.search(rf"\b{name}\(", PAGE) or f"`{name}`" in PAGE, f"{kind}.{name}"


@every_kind
def test_every_argument_is_told(kind: str) -> None:
    """By its name, for each call that has some."""
    for name, member in vars(getattr(mirrord, kind)).items():
        if inspect.isfunction(member) and (not name.startswith("_") or (name == "__init__" and kind == "Client")):
            for argument in list(inspect.signature(member).parameters.values())[1:]:
                if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                    assert re.search(rf"\b{argument.name}\b", PAGE), f"{kind}.{name}({argument.name})"


def test_numbers_are_those_of_the_code() -> None:
    """The producer's bounds and the patience, as the page tells them."""
    told = dict(re.findall(r"(\w+)=([\d_]+(?: << \d+)?)", PAGE[PAGE.index("## `Producer`") :]))
    for name, argument in inspect.signature(mirrord.Topic.producer).parameters.items():
        if name != "self":
            assert eval(told[name]) == argument.default, name  # an int, or a shift of two
    assert f"| `give_up_after_s` | {GIVE_UP_AFTER_S:.0f} |" in PAGE
    patience = Patience()
    assert f"Waits begin with {patience.first_s} s, double up to {patience.longest_s:.0f} s" in PAGE


def test_every_name_is_told() -> None:
    """What can be imported from mirrord stands on the page."""
    for name in set(mirrord.__all__) - {"__version__", "MirrordError", "Record", "Receipt"}:
        assert re.search(rf"\b{name}\b", PAGE), name
