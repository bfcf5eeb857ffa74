"""Every SQL statement of the server. SQLite and PostgreSQL differ only here."""
