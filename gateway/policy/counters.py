"""The virtual token counter of one class: of those who wait for a pool, who was served least.

Sheng et al., Fairness in Serving Large Language Models, OSDI 2024, algorithm 2. Each tenant has a counter of the tokens
it was served, each weighed by its kind and divided by the tenant's weight:

- of those who wait, the one with the least counter is next, with the oldest of its requests;
- it is charged at once for what the request is expected to take, and trued up when that is known;
- who comes back from idle is lifted to the least counter of those who wait: nobody saves up for later;
- where nobody waits, to that of the last one who did. What ends then, ends at nobody's expense, and lifts that one too.

What a tenant has in flight that never waited is left out of what others are lifted to: who filled the pool before
anybody had to wait has had that much, and they have not.
"""

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

import msgspec

SPARE = 64
"""Entries that are kept though they count no more, beside one for each that counts: clearing them away costs a walk."""
NEW, WAITING, OPEN, OVER = range(4)
"""Where a ticket is: nowhere yet, in the queue, charged and in flight, done with."""

Fits = Callable[[str], bool]
"""Whether what tickets of a kind need is there now."""


class Ticket(msgspec.Struct, eq=False):
    """One request that asks for a slot; a ticket is used once.

    `tenant` is who shares, `weight` how large its share is (above 0), `priority` the level of its class, higher first.
    `input_tokens` includes `cached_tokens`, as in `Usage`; `output_tokens` is what is expected. `arrived_at` and
    `deadline` are in seconds of the queue's clock. `kind` names what not every slot has, empty where any will do. The
    rest is the queue's own.
    """

    tenant: str
    priority: int
    weight: float
    input_tokens: int
    cached_tokens: int
    output_tokens: float
    arrived_at: float
    deadline: float
    kind: str = ""
    state: int = NEW
    charged: float = 0.0
    waited: bool = True
    number: int = 0
    moment: int = 0
    rises_at: float = 0.0
    account: "Account | None" = None


class Account:
    """One tenant in one class: its counter, and how many of its tickets wait and are open.

    `owed` is what the counter holds for the open ones, `unqueued` the part of that which never waited.
    """

    __slots__ = ("band", "counter", "lines", "open", "owed", "unqueued", "version", "waiting")

    def __init__(self, band: "Band") -> None:
        self.band = band
        self.counter = self.owed = self.unqueued = 0.0
        self.open = self.waiting = self.version = 0
        self.lines: dict[str, deque[Ticket]] = {}
        """By kind, in order; who left one otherwise than as its first is still in it, and belongs to it no more."""

    @property
    def level(self) -> float:
        """What others are lifted to."""
        return self.counter - self.unqueued

    def first(self, fits: Fits | None = None) -> Ticket | None:
        """The first ticket, of those that fit; None where there is none."""
        found: Ticket | None = None
        for kind, line in list(self.lines.items()):
            while line and line[0].account is not self:
                line.popleft()
            if not line:
                del self.lines[kind]
            elif (found is None or line[0].number < found.number) and (fits is None or fits(kind)):
                found = line[0]
        return found


class Band:
    """One class.

    `ranks` are the tenants that wait, by their counters; an entry of another version than its tenant's is void. `idle`
    is what tenants are lifted to while nobody waits.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self.accounts: dict[str, Account] = {}
        self.ranks: list[tuple[float, int, int, Account]] = []
        self.idle = 0.0
        self.versions = self.waiting = self.backlogged = self.open = 0
        self._sweep_at = SPARE

    def least(self) -> Account | None:
        """The tenant that is next; None when nobody waits."""
        ranks = self.ranks
        while ranks:
            _, _, version, account = ranks[0]
            if version == account.version:
                return account
            heappop(ranks)
        return None

    def next(self, fits: Fits | None) -> Ticket | None:
        """The first ticket that fits of the tenant that is next among those who have one."""
        least = self.least()
        found = None if least is None else least.first(fits)
        if found is None and least is not None:  # a walk, but of tenants, and only where something is scarce
            ranks = sorted(each for each in self.ranks if each[2] == each[3].version)
            found = next((ticket for *_, account in ranks if (ticket := account.first(fits)) is not None), None)
        return found

    def account(self, tenant: str) -> Account:
        """The account of a tenant, lifted if it comes from idle."""
        account = self.accounts.get(tenant)
        if account is None:
            if len(self.accounts) >= self._sweep_at:
                self._sweep()
            account = self.accounts[tenant] = Account(self)
        if not account.waiting:
            account.counter = max(account.counter, self._floor())
        return account

    def join(self, ticket: Ticket, account: Account, *, front: bool = False) -> None:
        """Wait."""
        if not account.waiting:
            self.backlogged += 1
        account.waiting += 1
        self.waiting += 1
        ticket.account = account
        line = account.lines.setdefault(ticket.kind, deque())
        if front:
            line.appendleft(ticket)
        else:
            line.append(ticket)
        if front or account.waiting == 1:
            self.rank(account)

    def part(self, ticket: Ticket, account: Account) -> None:
        """Wait no more, unserved."""
        self.leave(ticket, account)
        if account.waiting:
            self.rank(account)
        self._rest()

    def leave(self, ticket: Ticket, account: Account) -> None:
        """Wait no more. Who still waits of the tenant is to be ranked anew."""
        ticket.account = None
        account.waiting -= 1
        self.waiting -= 1
        line = account.lines[ticket.kind]
        if not account.waiting:
            account.lines.clear()
            account.version = 0
            self.backlogged -= 1
            if not self.backlogged:
                self.idle = account.level
                self.ranks.clear()
        elif line[0] is ticket:
            line.popleft()
        elif len(line) > 2 * account.waiting + SPARE:
            account.lines[ticket.kind] = deque(each for each in line if each.account is account)

    def rank(self, account: Account) -> None:
        """Give a tenant that waits its place among the others, by its counter and then by its oldest ticket."""
        first = account.first()
        self.versions += 1
        account.version = self.versions
        heappush(self.ranks, (account.counter, 0 if first is None else first.number, account.version, account))
        if len(self.ranks) > 2 * self.backlogged + SPARE:
            self.ranks = [each for each in self.ranks if each[2] == each[3].version]
            heapify(self.ranks)

    def charge(self, ticket: Ticket, account: Account, cost: float) -> None:
        """In flight from now on."""
        ticket.state, ticket.account, ticket.charged = OPEN, account, cost
        account.counter += cost
        account.owed += cost
        if not ticket.waited:
            account.unqueued += cost
        account.open += 1
        self.open += 1
        if account.waiting:
            self.rank(account)

    def settle(self, ticket: Ticket, account: Account, cost: float) -> None:
        """In flight no more, and known to have cost so much."""
        ticket.state, ticket.account = OVER, None
        account.counter += cost - ticket.charged
        account.open -= 1
        self.open -= 1
        if not account.open:
            account.owed = account.unqueued = 0.0
        else:
            account.owed -= ticket.charged
            account.unqueued -= 0.0 if ticket.waited else ticket.charged
        if account.waiting:
            self.rank(account)
        elif not self.backlogged:
            self.idle = max(self.idle, account.counter - account.owed)
            self._rest()

    def _rest(self) -> None:
        """When all are idle they are equal again."""
        if not self.backlogged and not self.open:
            self.accounts.clear()
            self.idle = 0.0

    def _floor(self) -> float:
        least = self.least()
        return self.idle if least is None else least.level

    def _sweep(self) -> None:
        """Forget who would be lifted anyway."""
        floor = self._floor()
        kept = {
            tenant: each for tenant, each in self.accounts.items() if each.waiting or each.open or each.counter > floor
        }
        self.accounts = kept
        self._sweep_at = 2 * len(kept) + SPARE
