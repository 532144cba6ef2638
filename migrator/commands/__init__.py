"""Commands: one file a verb; each is a plain function of settings, report and its arguments that returns an exit code."""
