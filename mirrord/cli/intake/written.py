"""Arguments as people write them: durations, places in a log."""

from __future__ import annotations

from typing import Any

import click

from ...config.option import duration_ms
from ...errors import ConfigError


class Duration(click.ParamType[int]):
    """``30s``, ``5m``, ``7d``, or a number of ms: in ms."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Fails with the words of the configuration."""
        try:
            return duration_ms(int(value) if str(value).isdecimal() else str(value))
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None


class Place(click.ParamType[str | int]):
    """``earliest``, ``latest``, or a seq: the record after it comes next."""

    name = "earliest|latest|SEQ"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Fails with what there is."""
        if value in ("earliest", "latest"):
            return str(value)
        if not str(value).isdecimal():
            told = f"{value!r} is no place: earliest, latest, or a seq (the record after it comes next)"
            raise click.BadParameter(told, ctx, param)
        return int(value)
