"""Commands: one file for each verb of `python -m lockstep_gate`."""
