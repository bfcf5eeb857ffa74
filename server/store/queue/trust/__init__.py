"""Rows of memos, receipts and votes."""
