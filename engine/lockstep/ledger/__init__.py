"""Ledger: what was applied, when, by which commit, how long it took and waited, and which releases the schema serves.

It is the schema `migrator` in the same database. Runs are written on the control connection. A step's row is written on
the migrating connection, in the step's own transaction, so that neither can exist without the other.
"""
