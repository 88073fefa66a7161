"""What users import in their tests, and the conformance suites for stores and engines. Needs pytest.

faena.testing.clock     FakeClock: time that moves only when a test says so
faena.testing.stores    StoreConformance: join with one fixture and one class line
faena.testing.machine   drive: any history of calls, compared with the model
faena.testing.model     the model: the rules in dicts
faena.testing.broken    stores that break a rule, to show that the suite notices
"""

import pytest

pytest.register_assert_rewrite("faena.testing.stores", "faena.testing.machine", "faena.testing.engines")
