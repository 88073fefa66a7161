"""Lets tests import the kits beside this file (`api_kit` …)."""
