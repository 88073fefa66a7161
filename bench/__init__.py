"""Measurements of Faena on the machine at hand: `python -m bench`, or `make bench`. See README.md."""
