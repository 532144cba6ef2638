"""Pages: the Markdown files of the repository in, their blocks, links, tables and names out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """One file; `prose` is what stands outside of fences."""

    path: Path
    text: str

    @property
    def name(self):
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self):
        return FENCE.sub("", self.text)

    def blocks(self, language):
        """The contents of the fences of a language."""
        return [body for _, kind, body in FENCE.findall(self.text) if kind == language]

    def commands(self):
        """The commands of the `sh` fences, comments taken off, continued lines joined."""
        lines = "".join(self.blocks("sh")).replace("\\\n", " ").splitlines()
        return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]

    def codes(self):
        """What stands between backticks."""
        return CODE.findall(self.prose)

    def links(self):
        return LINK.findall(self.prose)

    def headings(self):
        return re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)

    def anchors(self):
        """The anchors GitHub makes of the headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings()}

    def section(self, heading):
        """What stands under a heading, up to the next of its level."""
        match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert match, f"{self.name} has no section {heading!r}"
        return match[1]

    def marked(self, name):
        """What stands between <!-- name --> and <!-- /name -->."""
        return self.text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def page(name):
    path = ROOT / name
    return Page(path, path.read_text())


def pages():
    return [page(name) for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + [
        page(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
    ]


def rows(table):
    """The cells of a Markdown table's rows, its head left out."""
    lines = [line.strip().strip("|") for line in table.splitlines() if line.strip().startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[2:]]
