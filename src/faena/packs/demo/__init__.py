"""The demo pack: the tasks and routes of the starters (seeds 002 and 003)."""

from faena.packs.demo.tasks import pack

__all__ = ["pack"]
