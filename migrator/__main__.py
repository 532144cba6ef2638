"""`python -m migrator`: the engine's command, from a checkout or an image."""

from lockstep.__main__ import run

if __name__ == "__main__":
    run()
