"""Databases, statements, tables, ids; nothing of what is kept in them."""
