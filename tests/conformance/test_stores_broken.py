"""The suite and the state machine fail a store that breaks a rule, and say where."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from faena.testing import broken
from faena.testing.machine import drive

SUITE = """
import pytest
from faena.testing import broken
from faena.testing.stores import StoreConformance

class Broken(StoreConformance):
    durable = False

    @pytest.fixture
    def make_store(self):
        made = []

        def make(*, options, clock):
            made.append(made[0].beside() if made else self.first(options=options, clock=clock))
            return made[-1]

        return make
"""
CLASS = """
class Test_{name}(Broken):
    first = staticmethod(broken.{name})
"""


def failed(name: str, folder: Path) -> set[str]:
    """Run the suite on a broken store, as a user would, and return the tests that failed."""
    suite = folder / "test_broken_store.py"
    suite.write_text(SUITE + CLASS.format(name=name))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    run = subprocess.run(
        [*command, f"--junitxml={folder / 'report.xml'}", str(suite)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    cases = [*ET.parse(folder / "report.xml").iter("testcase")]
    assert [case.attrib for case in cases if case.find("error") is not None] == []
    return {case.attrib["name"].partition("[")[0] for case in cases if case.find("failure") is not None}


@pytest.mark.parametrize("name", broken.NOTICED_BY)
def test_the_suite_notices_a_broken_store_and_only_tests_of_the_broken_rule_fail(
    name: str, tmp_path: Path
) -> None:
    found = failed(name, tmp_path)
    assert broken.NOTICED_BY[name] <= found
    assert len(found) <= 12, sorted(found)


@pytest.mark.parametrize("name", broken.NOTICED_BY)
def test_the_state_machine_notices_a_broken_store(name: str) -> None:
    with pytest.raises(AssertionError):
        drive(getattr(broken, name), histories=600, shrink=False)  # it ends with the first that differs
