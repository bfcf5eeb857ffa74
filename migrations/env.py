"""What Alembic runs: the versions, over a connection that the caller gives or one of alembic.ini's URL."""

from alembic import context
from sqlalchemy import Connection, create_engine

from piecework.server.store.engine.tables import receipts as receipt_tables  # noqa: F401  # it adds tables
from piecework.server.store.engine.tables.functions import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def write_sql(dialect: str) -> None:
    context.configure(dialect_name=dialect, literal_binds=True)
    context.run_migrations()


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    write_sql(context.config.attributes["dialect"])
elif given is not None:
    run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as own:
        run(own)
