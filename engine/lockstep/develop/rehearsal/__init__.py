"""Rehearsal: pending revisions in, what a real PostgreSQL was seen to do with each of their statements out.

For developers and CI: everything here runs on databases made for it, on a throw-away server.
"""
