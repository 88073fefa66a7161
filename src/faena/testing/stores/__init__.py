"""The conformance suite of stores: every rule of `faena.ports.store` and every verb, as tests.

A store joins with one fixture and one class line:

    from faena.testing.stores import StoreConformance

    class TestMine(StoreConformance):
        @pytest.fixture
        async def make_store(self, tmp_path):
            return lambda *, options, clock: MyStore(tmp_path / "jobs", options=options, clock=clock)
"""

from faena.testing.stores.admitting import Admitting
from faena.testing.stores.base import MakeStore, StoreSuite
from faena.testing.stores.cancelling import Cancelling
from faena.testing.stores.claiming import Claiming
from faena.testing.stores.finishing import Finishing
from faena.testing.stores.inserting import Inserting
from faena.testing.stores.keeping import Keeping
from faena.testing.stores.keys import Keys
from faena.testing.stores.limiting import Limiting
from faena.testing.stores.listing import Listing
from faena.testing.stores.obstacles import WhyNot
from faena.testing.stores.promoting import Promoting
from faena.testing.stores.reporting import Reporting
from faena.testing.stores.rescuing import Rescuing
from faena.testing.stores.scheduling import Scheduling
from faena.testing.stores.sharing import Sharing
from faena.testing.stores.starting import Starting
from faena.testing.stores.steering import Steering
from faena.testing.stores.telling import Telling
from faena.testing.stores.turns import Turns
from faena.testing.stores.values import Values
from faena.testing.stores.workers import Workers

__all__ = ["MakeStore", "StoreConformance"]


class StoreConformance(
    Inserting,
    Claiming,
    Reporting,
    Finishing,
    Rescuing,
    Cancelling,
    Promoting,
    Limiting,
    Starting,
    Turns,
    Admitting,
    Keys,
    Steering,
    Scheduling,
    WhyNot,
    Telling,
    Listing,
    Keeping,
    Workers,
    Values,
    Sharing,
    StoreSuite,
):
    """All of it. Set the flags of `StoreSuite` where a store can't do something by nature."""
