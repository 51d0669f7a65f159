"""Alembic's entry: the caller hands over an open connection inside its own transaction."""

from alembic import context

from aegis.adapters.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
