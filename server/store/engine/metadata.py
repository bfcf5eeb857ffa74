"""What all tables are made of: their metadata, the rule for names, partial indexes."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, Integer, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a column the row's own key only when it is spelled INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


def partial_index(name: str, *columns: ColumnElement[Any], where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
