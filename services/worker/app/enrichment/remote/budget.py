"""How much may be asked of a provider on one day (UTC), kept by all workers together in PostgreSQL."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Date, cast, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from contracts.tables import ProviderUsage

_TOKENS_MAX = 10**9
"""A server that says it used more than this is not believed."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens set aside for one request, on the day that it was made."""

    day: date
    tokens: int


class DailyBudget:
    """A limit of tokens a day, over a session factory; without a limit only the count is kept.

    A request reserves the most that it can use before it is made, and is settled when its usage is known: so
    any number of workers together stay below the limit. A worker that dies in between leaves its reservation.
    """

    def __init__(self, sessions: sessionmaker[Session], provider: str, limit: int | None) -> None:
        self._sessions = sessions
        self._provider = provider
        self._limit = limit

    def reserve(self, tokens: int) -> Reservation | None:
        """Set tokens aside for one request; None when the day's budget does not hold as many."""
        if self._limit is not None and tokens > self._limit:
            return None
        first = insert(ProviderUsage).values(
            provider=self._provider, day=cast(func.timezone("UTC", func.now()), Date), requests=1, tokens=tokens
        )
        total = ProviderUsage.tokens + tokens
        add = first.on_conflict_do_update(
            index_elements=[ProviderUsage.provider, ProviderUsage.day],
            set_={"requests": ProviderUsage.requests + 1, "tokens": total},
            where=None if self._limit is None else total <= self._limit,
        ).returning(ProviderUsage.day)
        with self._sessions.begin() as session:
            day = session.scalar(add)
        return None if day is None else Reservation(day, tokens)

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Put what the request used in the place of what was set aside for it."""
        change = min(max(tokens, 0), _TOKENS_MAX) - reservation.tokens
        correct = (
            update(ProviderUsage)
            .where(ProviderUsage.provider == self._provider, ProviderUsage.day == reservation.day)
            .values(tokens=func.greatest(ProviderUsage.tokens + change, 0))
        )
        with self._sessions.begin() as session:
            session.execute(correct)
