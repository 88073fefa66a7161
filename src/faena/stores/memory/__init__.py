"""The store that keeps everything in this process's memory: for tests and for trying things out."""

from faena.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
