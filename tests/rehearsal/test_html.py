"""The page holds everything, loads nothing, and is drawn by a browser."""

import html.parser
import shutil
import struct
import subprocess

import pytest

from lockstep.develop.rehearsal.formats import html as page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BAD = """def upgrade():
    op.create_index("ix", "orders", ["code"])
    op.add_column("customers", sa.Column("<b>&'", sa.Text()))


def downgrade():
    op.drop_column("customers", "<b>&'")
    op.drop_index("ix", "orders")
"""


@pytest.fixture
def written(project, server, tmp_path):
    project.add(BAD)
    rehearsal = project.rehearse(server.url, load=True, long_transaction_s=0.5)
    path = tmp_path / "page.html"
    path.write_text(page.write(rehearsal), encoding="utf-8")
    return path


class Reader(html.parser.HTMLParser):
    """Collects what a page loads, and what stays open."""

    def __init__(self):
        super().__init__()
        self.loads, self.tags = [], {}

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.loads += [value for name, value in attributes if name in {"src", "href", "data", "action"}]


def test_page_is_one_file_with_timeline_waits_findings_and_sql(written):
    text = written.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert reader.tags["svg"] == 2
    assert "script" not in reader.tags
    assert "An index built without CONCURRENTLY" in text
    assert "CREATE INDEX ix ON orders (code)" in text
    assert 'class="longest"' in text


def test_page_shows_names_as_text(written):
    text = written.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_draws_it_in_light_and_dark(written, tmp_path, scheme):
    shot = tmp_path / f"{scheme}.png"
    settings = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / scheme}", *settings,
         "--hide-scrollbars", "--window-size=1000,1400", f"--screenshot={shot}", written.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert struct.unpack(">II", shot.read_bytes()[16:24]) == (1000, 1400)
    assert shot.stat().st_size > 30_000  # an empty page is a few kilobytes


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_browser_prints_it(written, tmp_path):
    paper = tmp_path / "page.pdf"
    subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'print'}",
         "--no-pdf-header-footer", f"--print-to-pdf={paper}", written.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert paper.read_bytes().startswith(b"%PDF")
