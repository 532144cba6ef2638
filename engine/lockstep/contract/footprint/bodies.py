"""Bodies: what an expression or the body of a function names, by PostgreSQL's own grammar (pgparse)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ERROR = 21  # elog level of RAISE EXCEPTION
Name = tuple[str | None, str]


class Body(NamedTuple):
    """What one text names; `understood` is false for what the grammar does not know, or what is made up as it runs."""

    relations: frozenset[Name] = frozenset()
    functions: frozenset[Name] = frozenset()
    of_row: frozenset[str] = frozenset()  # NEW.x, OLD.x
    assigned: frozenset[str] = frozenset()  # NEW.x := …
    always: frozenset[str] = frozenset()  # the same, before anything that may leave it out
    columns: frozenset[tuple[str, str]] = frozenset()  # (relation, column) of INSERT and UPDATE
    variables: frozenset[str] = frozenset()
    literals: frozenset[str] = frozenset()
    whole_row: bool = False
    raises: bool = False
    understood: bool = True


UNKNOWN = Body(understood=False)


@lru_cache(maxsize=4096)
def expression(text: str) -> Body:
    """Return what an expression names."""
    return statements(f"SELECT {text}")


@lru_cache(maxsize=4096)
def statements(text: str) -> Body:
    """Return what statements name."""
    import pgparse  # noqa: PLC0415 - a run in which nothing has changed never needs it

    try:
        nodes = pgparse.parse(text)
    except (pgparse.PGQueryError, ValueError):
        return UNKNOWN
    return _Names().of(nodes)


@lru_cache(maxsize=4096)
def function(language: str, body: str) -> Body:
    """Return what a function's body names."""
    if language == "sql":
        if body.lstrip().upper().startswith("BEGIN ATOMIC"):
            inner = body.strip()[len("BEGIN ATOMIC") :].rsplit("END", 1)[0]
            return statements(inner)
        if body.lstrip().upper().startswith("RETURN "):
            return expression(body.strip()[len("RETURN ") :])
        return statements(body)
    if language == "plpgsql":
        return _plpgsql(body)
    return UNKNOWN


def _plpgsql(body: str) -> Body:
    import pgparse  # noqa: PLC0415 - see above

    tag = "$lockstep_body$"
    head = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
    try:
        tree = pgparse.parse_pgsql(f"{head}{tag}{body}{tag}")
    except (pgparse.PGQueryError, ValueError):
        return UNKNOWN
    names = _Names()
    for query in _queries(tree):
        if query.strip().lower() in {"new", "old", "null"}:
            continue  # what is returned
        for text in (query, f"SELECT {query}", _assigned(query)):
            if text is None:
                continue
            try:
                nodes = pgparse.parse(text)
            except (pgparse.PGQueryError, ValueError):
                continue
            names.walk(nodes)
            break
        else:
            names.understood = False
        target = query.split(":=")[0].strip() if ":=" in query else ""
        if target.lower().startswith("new."):
            names.assigned.add(target[4:].strip('" ').lower())
            names.of_row.add(target[4:].strip('" ').lower())
    names.variables |= set(_variables(tree))
    names.understood = names.understood and not _holds(tree, "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors")
    names.raises = _raises_at_once(tree)
    return names.body()._replace(always=frozenset(_at_once(tree)))


def _at_once(tree: Any) -> Iterator[str]:
    """Give the columns of NEW that the body's first statements assign."""
    for one in tree:
        block = one.get("PLpgSQL_function", {}).get("action", {}).get("PLpgSQL_stmt_block", {})
        for statement in block.get("body", ()):
            if "PLpgSQL_stmt_assign" not in statement:
                break
            target = next(_queries(statement), "").split(":=")[0].strip().lower()
            if target.startswith("new."):
                yield target[len("new.") :].strip('" ')


def _assigned(query: str) -> str | None:
    return f"SELECT {query.split(':=', 1)[1]}" if ":=" in query else None


def _queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        found = node.get("PLpgSQL_expr")
        if found and "query" in found:
            yield found["query"]
        for value in node.values():
            yield from _queries(value)
    elif isinstance(node, list):
        for one in node:
            yield from _queries(one)


def _variables(tree: Any) -> Iterator[str]:
    for one in tree:
        for datum in one.get("PLpgSQL_function", {}).get("datums", ()):
            for kind in ("PLpgSQL_var", "PLpgSQL_rec", "PLpgSQL_row"):
                name = datum.get(kind, {}).get("refname")
                if name and name not in {"found", "new", "old", "(unnamed row)"}:
                    yield name


def _holds(node: Any, *kinds: str) -> bool:
    if isinstance(node, dict):
        return any(key in kinds or _holds(value, *kinds) for key, value in node.items())
    return isinstance(node, list) and any(_holds(one, *kinds) for one in node)


def _raises_at_once(tree: Any) -> bool:
    """Tell whether nothing can be done before it raises."""
    for one in tree:
        block = one.get("PLpgSQL_function", {}).get("action", {}).get("PLpgSQL_stmt_block", {})
        first = next(iter(block.get("body", ())), {})
        if first.get("PLpgSQL_stmt_raise", {}).get("elog_level") == ERROR and "exceptions" not in block:
            return True
    return False


class _Names:
    """Walks a parse tree."""

    def __init__(self) -> None:
        self.relations: set[Name] = set()
        self.functions: set[Name] = set()
        self.of_row: set[str] = set()
        self.assigned: set[str] = set()
        self.columns: set[tuple[str, str]] = set()
        self.variables: set[str] = set()
        self.literals: set[str] = set()
        self.ctes: set[str] = set()
        self.whole_row = self.raises = False
        self.understood = True

    def of(self, nodes: Any) -> Body:
        self.walk(nodes)
        return self.body()

    def body(self) -> Body:
        relations = frozenset(one for one in self.relations if one[0] or one[1] not in self.ctes)
        return Body(
            relations, frozenset(self.functions), frozenset(self.of_row), frozenset(self.assigned),
            frozenset(), frozenset(self.columns), frozenset(self.variables), frozenset(self.literals), self.whole_row,
            self.raises, self.understood,
        )  # fmt: skip

    def walk(self, node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                self.walk(one)
        elif isinstance(node, dict):
            for key, value in node.items():
                seen = getattr(self, f"_on_{key.lower()}", None)
                if seen and isinstance(value, dict):
                    seen(value)
                self.walk(value)

    def _on_rangevar(self, node: dict[str, Any]) -> None:
        self.relations.add((node.get("schemaname"), node.get("relname", "")))

    def _on_relation(self, node: dict[str, Any]) -> None:  # of INSERT, UPDATE and DELETE: a RangeVar without its name
        if "relname" in node:
            self._on_rangevar(node)

    def _on_commontableexpr(self, node: dict[str, Any]) -> None:
        self.ctes.add(node.get("ctename", ""))

    def _on_funccall(self, node: dict[str, Any]) -> None:
        parts = [one.get("String", {}).get("sval", "") for one in node.get("funcname", ())]
        if parts:
            self.functions.add((parts[-2] if len(parts) > 1 else None, parts[-1]))

    def _on_a_const(self, node: dict[str, Any]) -> None:
        text = node.get("sval")
        if isinstance(text, dict) and text.get("sval"):
            self.literals.add(text["sval"])

    def _on_columnref(self, node: dict[str, Any]) -> None:
        fields = node.get("fields", ())
        parts = [one.get("String", {}).get("sval") for one in fields]
        star = any("A_Star" in one for one in fields)
        first = (parts[0] or "").lower() if parts else ""
        if star:
            self.whole_row = True
        elif first in {"new", "old"}:
            if len(parts) == 1:
                self.whole_row = True
            elif parts[1]:
                self.of_row.add(parts[1])

    def _on_insertstmt(self, node: dict[str, Any]) -> None:
        relation = node.get("relation", {})
        self._on_relation(relation)
        named = node.get("cols", ())
        for one in named:
            self.columns.add((relation.get("relname", ""), one.get("ResTarget", {}).get("name", "")))
        if not named:
            self.whole_row = True

    def _on_updatestmt(self, node: dict[str, Any]) -> None:
        relation = node.get("relation", {})
        for one in node.get("targetList", ()):
            self.columns.add((relation.get("relname", ""), one.get("ResTarget", {}).get("name", "")))
