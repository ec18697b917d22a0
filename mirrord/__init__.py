"""mirrord: one daemon per node; topics that can be written everywhere and end up the same everywhere."""

__version__ = "0.1.0"
