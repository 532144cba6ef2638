"""Fixtures of the gate's tests: models as people have them, and the app's own database and role."""

import sys
import textwrap

import pytest

from tests.app.conftest import app_role, bare, migrated, network

__all__ = ["app_role", "bare", "migrated", "network"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write modules that can be imported: package("shop/models.py", text) puts them on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent != tmp_path:
            (path.parent / "__init__.py").touch()
        path.write_text(textwrap.dedent(text))
        return path

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]
