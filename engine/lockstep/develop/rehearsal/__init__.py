"""Rehearsal: run pending revisions on a real PostgreSQL, and tell what it did with each of their statements.

For developers and CI: everything here runs on databases made for it, on a throw-away server.
"""
