"""PostgreSQL: tables, statements, migrations, and the ledger over them."""
