"""Stop: all that ends a run early: its deadline, signals, a watchdog."""
