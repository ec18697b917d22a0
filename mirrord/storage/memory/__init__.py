"""The store without a disk, for the simulator and for tests."""

from .store import Fault, MemoryStore, Snapshot

__all__ = ["Fault", "MemoryStore", "Snapshot"]
