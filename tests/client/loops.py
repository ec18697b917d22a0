"""The library promises to work under trio and under asyncio: a case that says so runs under both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import signature
from typing import Any

import anyio
import pytest

WITHIN_S = 60.0


def under_both(case: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The case, once under each event loop; it fails when it takes a minute."""

    async def bounded(case: Callable[..., Awaitable[None]], **given: Any) -> None:
        with anyio.fail_after(WITHIN_S):
            await case(**given)

    @pytest.mark.parametrize("loop", ["trio", "asyncio"])
    @wraps(case)
    def run(loop: str, **given: Any) -> None:
        async def main() -> None:
            await bounded(case, **given)

        anyio.run(main, backend=loop)

    params = list(signature(case).parameters.values())
    own = signature(run, follow_wrapped=False).parameters["loop"]
    both: Callable[..., None] = run
    both.__signature__ = signature(case).replace(  # type: ignore[attr-defined]  # what pytest reads fixtures from
        parameters=[own.replace(kind=own.POSITIONAL_OR_KEYWORD), *params], return_annotation=None
    )
    return both
