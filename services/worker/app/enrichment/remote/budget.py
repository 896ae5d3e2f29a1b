"""The daily token budget of a provider (UTC), which all workers share through PostgreSQL."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Date, cast, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from contracts.tables import ProviderUsage

_TOKENS_MAX = 10**9
"""Larger numbers from a server are treated as this one."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens reserved for one request, on the day of the reservation."""

    day: date
    tokens: int


class DailyBudget:
    """A daily token limit. Without a limit, the tokens are only counted.

    Before a request, its maximum usage is reserved. After the request, the reservation is replaced by the actual
    usage. Therefore any number of workers stays below the limit. If a worker dies, its reservation remains.
    """

    def __init__(self, sessions: sessionmaker[Session], provider: str, limit: int | None) -> None:
        self._sessions = sessions
        self._provider = provider
        self._limit = limit

    def reserve(self, tokens: int) -> Reservation | None:
        """Reserve tokens for one request; return None if the rest of the daily budget is too small."""
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
        """Replace the reservation by the request's actual usage."""
        change = min(max(tokens, 0), _TOKENS_MAX) - reservation.tokens
        correct = (
            update(ProviderUsage)
            .where(ProviderUsage.provider == self._provider, ProviderUsage.day == reservation.day)
            .values(tokens=func.greatest(ProviderUsage.tokens + change, 0))
        )
        with self._sessions.begin() as session:
            session.execute(correct)
