"""One statement for two drivers: asyncpg in the API, psycopg2 in the worker."""

from functools import cached_property
from typing import Any

from sqlalchemy import ClauseElement, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

_DIALECT: Any = asyncpg_dialect()  # type: ignore[no-untyped-call] # its stubs lack it


class Statement:
    """A statement with named parameters.

    The worker executes `expression` with SQLAlchemy, which compiles it once and caches it. The API passes the
    result of `bind` to asyncpg.
    """

    def __init__(self, expression: ClauseElement | str) -> None:
        """Wrap a Core expression, or SQL with `:name` for parameters."""
        self.expression: Any = text(expression) if isinstance(expression, str) else expression

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        compiled: Any = self.expression.compile(dialect=_DIALECT)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        return str(compiled), tuple(compiled.positiontup), constants

    @property
    def sql(self) -> str:
        """The SQL with `$1`, `$2` and so on for parameters."""
        return self._compiled[0]

    def bind(self, **values: Any) -> tuple[Any, ...]:
        """Return the SQL and its values in order; raise TypeError unless each parameter has a value."""
        sql, names, constants = self._compiled
        if values.keys() != set(names) - constants.keys():
            raise TypeError(f"the parameters are {sorted(set(names) - constants.keys())}, not {sorted(values)}")
        return (sql, *(values[name] if name in values else constants[name] for name in names))
