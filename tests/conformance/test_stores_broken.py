"""The suite and the state machine fail a store that breaks a rule, and say where."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

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


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the suite on every broken store, as a user would, and return the tests that failed on each."""
    folder = tmp_path_factory.mktemp("suite")
    suite = folder / "test_broken_stores.py"
    suite.write_text(SUITE + "".join(CLASS.format(name=name) for name in broken.NOTICED_BY))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    run = subprocess.run(
        [*command, f"--junitxml={folder / 'report.xml'}", str(suite)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    tests: dict[str, set[str]] = {name: set() for name in broken.NOTICED_BY}
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        if case.find("failure") is not None:
            store = case.attrib["classname"].rpartition("Test_")[2]
            tests[store].add(case.attrib["name"].partition("[")[0])
        assert case.find("error") is None, case.attrib
    return tests


@pytest.mark.parametrize("name", broken.NOTICED_BY)
def test_the_suite_notices_a_broken_store(name: str, failed: dict[str, set[str]]) -> None:
    assert broken.NOTICED_BY[name] <= failed[name]


@pytest.mark.parametrize("name", broken.NOTICED_BY)
def test_only_tests_of_the_broken_rule_fail(name: str, failed: dict[str, set[str]]) -> None:
    assert len(failed[name]) <= 12, sorted(failed[name])


@pytest.mark.parametrize("name", broken.NOTICED_BY)
def test_the_state_machine_notices_a_broken_store(name: str) -> None:
    with pytest.raises(AssertionError):
        drive(getattr(broken, name), histories=600, shrink=False)  # it ends with the first that differs
