"""Law 1 over whole lives of a gateway: any order of work, failure and death."""

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from gateway.contracts.ledger import LedgerRow
from gateway.stores.spool import Spool, decode, recover
from tests.drawing import often
from tests.gateway.builders import kill, row, settled


class Lives(RuleBasedStateMachine):
    """Any order of work, failure and death. The database keeps the first row of an id, as the ledger does."""

    admitted: Bundle[str] = Bundle("admitted")

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name)
        self.stored: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.lives = 0
        self.spool = Spool(self.folder, "0", segment_bytes=600)

    def _store(self, rows: Sequence[LedgerRow]) -> None:
        for each in rows:
            self.stored.setdefault(each.request_id, each.outcome)

    @rule(target=admitted)
    def admit(self) -> str:
        name = f"tg-{len(self.expected)}"
        self.spool.admit(row(name))
        self.expected[name] = "gateway_lost"
        return name

    @rule(name=consumes(admitted), outcome=st.sampled_from(["completed", "client_closed", "upstream_failed"]))
    def settle(self, name: str, outcome: str) -> None:
        # A request of an earlier life was lost with it: the spool has to ignore its end.
        if name not in self.stored:
            self.expected[name] = outcome
        for _ in range(2):
            self.spool.settle(settled(name, outcome=outcome))

    @rule(works=st.booleans(), late=st.booleans())
    def drain(self, works: bool, late: bool) -> None:
        rows = [decode(line) for line in self.spool.take()]
        if late:
            self.admit()
        if works:
            self._store(rows)
            self.spool.stored()
        else:
            self.spool.keep()

    @rule(taken=st.booleans())
    def die(self, taken: bool) -> None:
        if taken:
            self._store([decode(line) for line in islice(self.spool.take(), 1)])
        del self.spool
        kill(self.folder)
        recover(self.folder, self._store)
        assert self.stored == self.expected
        self.lives += 1
        self.spool = Spool(self.folder, str(self.lives), segment_bytes=600)

    def teardown(self) -> None:
        self.die(False)
        self.spool.close()
        left = list(self.folder.iterdir())
        self.place.cleanup()
        assert left == []


Lives.TestCase.settings = settings(
    max_examples=often(30, thorough=500),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLives = Lives.TestCase
