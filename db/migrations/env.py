"""Alembic's entry: runs the migrations on the connection, and in the transaction, of its caller."""

from alembic import context

from db.schema import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    version_table="migration",
    version_table_schema=SCHEMA,
)
context.get_bind().exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
context.run_migrations()
