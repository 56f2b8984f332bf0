"""Alembic's entry: runs each migration in a transaction, on the connection of its caller."""

from alembic import context

from db.schema import SCHEMA, metadata

connection = context.config.attributes["connection"]
connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
connection.commit()
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_schemas=True,
    version_table="migration",
    version_table_schema=SCHEMA,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
