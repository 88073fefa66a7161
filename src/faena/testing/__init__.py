"""What users import in their tests, and the conformance suites for stores and engines, which need pytest.

faena.testing.bed       Testbed: an app's jobs in a test, run when the test says so
faena.testing.clock     FakeClock: time that moves only when a test says so
faena.testing.stores    StoreConformance: join with one fixture and one class line
faena.testing.engines   EngineConformance, WorkerConformance, ProcessConformance, in the same way
faena.testing.machine   drive: any history of calls, compared with the model
faena.testing.model     the model: the rules in dicts
faena.testing.broken    stores that break a rule, to show that the suite notices
faena.testing.witness   the app that the suite's workers run
"""

import sys

from faena.testing.bed import Testbed
from faena.testing.clock import FakeClock

__all__ = ["FakeClock", "Testbed"]

if "pytest" in sys.modules:  # not in the worker processes of a suite, which would load it in vain
    sys.modules["pytest"].register_assert_rewrite(
        "faena.testing.stores",
        "faena.testing.machine",
        "faena.testing.side_by_side",
        "faena.testing.model",
        "faena.testing.model_lines",
        "faena.testing.engines",
    )
