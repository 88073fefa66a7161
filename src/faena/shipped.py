"""The application that runs when none is named: the packs that Faena ships.

A pack whose extra is not installed is left out; `missing` says which, and what to install.
"""

from __future__ import annotations

from importlib import import_module

from faena.app import Faena

PACKS = {"demo": ("faena.packs.demo", None), "media": ("faena.packs.media", "media")}
"""Each pack's module, and the extra that it needs."""


def build() -> tuple[Faena, tuple[str, ...]]:
    """Return an application with every shipped pack that can be imported, and a sentence for each that can't."""
    built = Faena(name="shipped")
    left_out: list[str] = []
    for name, (module, extra) in PACKS.items():
        try:
            built.include(import_module(module).pack)
        except ImportError as error:
            if extra is None or (error.name or "").startswith("faena."):
                raise
            left_out.append(f"the {name} pack is left out ({error}): pip install 'faena[{extra}]'")
    return built, tuple(left_out)


app, missing = build()
