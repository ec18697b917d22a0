"""The embedded store: one SQLite database per node, opened through apsw."""

from .directory import Settings
from .engine import SqliteStore, open_sqlite

__all__ = ["Settings", "SqliteStore", "open_sqlite"]
