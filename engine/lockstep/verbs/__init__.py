"""Commands: one file a verb, each a plain function of settings, report and arguments that returns an exit code."""
