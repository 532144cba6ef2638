"""Lockstep's gate: what an app and its migrator share, so that both know which release a schema serves."""

__version__ = "0.1.0"
__all__ = ["Closed", "Gate", "__version__"]


def __getattr__(name: str):  # noqa: ANN202 - Any, without the milliseconds that `typing` takes to load
    # Loaded when first asked for: it needs SQLAlchemy, which takes longer than a whole run with nothing to do.
    if name not in ("Closed", "Gate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lockstep_gate import gate  # noqa: PLC0415

    return getattr(gate, name)
