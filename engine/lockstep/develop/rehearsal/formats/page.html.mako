<%!
    def did(seen):
        parts = [f"rewrote {name}" for name in seen.changes.rewritten]
        parts += [f"built {index.name}" for index in (*seen.changes.indexes_built, *seen.changes.indexes_rebuilt)]
        parts += [f"read {count:,} rows of {table}" for table, count in seen.rows_read]
        parts += [f"wrote {count:,} rows of {table}" for table, count in seen.rows_written]
        return [seen.error] if seen.error else parts

    def size(count):
        return f"{count / 1024:,.0f} KiB" if abs(count) < 1 << 20 else f"{count / (1 << 20):,.1f} MiB"
%>\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsal: ${headline}</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2024; --soft: #5f6873; --line: #d9dee3; --card: #f6f8f9;
  --all: #c8372d; --writes: #c77700; --nobody: #7d94a8; --statement: #33506b; --good: #2a7a43;
  --read: #3f78b5; --write: #8a5cb0; --applied: #33506b14;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --ink: #e6e9ec; --soft: #9aa4ae; --line: #343b42; --card: #1d2226;
    --all: #ef6a5f; --writes: #e7a13d; --nobody: #71889c; --statement: #86a9cb; --good: #67bd83;
    --read: #79b0ea; --write: #c197e6; --applied: #86a9cb1f;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 .2rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .4rem; color: var(--soft); font-weight: 600; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
code, pre, td.sql { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .82rem; }
section { margin-top: 2.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .5rem 0 0;
  overflow-x: auto; white-space: pre-wrap; }
.finding { border-left: 4px solid var(--soft); padding: .1rem 0 .1rem .9rem; margin: 1rem 0; }
.finding.error { border-color: var(--all); } .finding.warning { border-color: var(--writes); }
.finding b { font-weight: 650; }
.level { font-size: .74rem; font-weight: 700; text-transform: uppercase; letter-spacing: .06em; margin-right: .4rem; }
.error .level, .bad { color: var(--all); } .warning .level { color: var(--writes); } .ok { color: var(--good); }
.waived, .waived .level { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; white-space: nowrap; }
td { vertical-align: top; border-bottom: 1px solid var(--line); padding: .4rem .6rem .4rem 0; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.sql { min-width: 18rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; margin: .3rem 0; font: 11px system-ui, "DejaVu Sans", sans-serif; }
svg text { fill: var(--ink); }
.name { text-anchor: end; } svg .name, svg .axis { fill: var(--soft); }
.lane, .grid { stroke: var(--line); } .edge { stroke: var(--soft); stroke-dasharray: 3 3; }
g text { text-anchor: middle; font-size: 10px; } svg g text { fill: var(--paper); }
.statement rect { fill: var(--statement); } .all rect { fill: var(--all); } .writes rect { fill: var(--writes); }
.nobody rect { fill: var(--nobody); opacity: .75; }
path { stroke-width: 3; stroke-linecap: round; fill: none; } path.read { stroke: var(--read); opacity: .7; }
path.write { stroke: var(--write); opacity: .7; } path.failed { stroke: var(--all); stroke-width: 5; }
circle.longest { fill: none; stroke: var(--all); stroke-width: 2; } line.wait { stroke: var(--all); stroke-width: 2; }
.said { font-weight: 600; } rect.applied { fill: var(--applied); }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .8rem; color: var(--soft); margin: .2rem 0 0; }
.key span::before { content: ""; display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em;
  vertical-align: -.05em; background: var(--swatch); }
@media (max-width: 40rem) { body { padding: 1.2rem .9rem 3rem; } svg { min-width: 40rem; } }
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --card: #fff; --all: #b3261e; --writes: #a86400;
    --nobody: #7d94a8; --statement: #33506b; --read: #3f78b5; --write: #8a5cb0; --applied: #33506b14; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; max-width: none; font-size: 10pt; } .finding, svg, tr { break-inside: avoid; }
  section { break-inside: auto; } h2, h3 { break-after: avoid; }
}
</style>
</head>
<body>
<header>
<h1>Rehearsal: ${headline}</h1>
% if rehearsal.revisions:
<p class="soft">${len(rehearsal.revisions)} revision${'' if len(rehearsal.revisions) == 1 else 's'} (${rehearsal.how}),
on PostgreSQL ${rehearsal.server}, each up, down and up again, in ${f"{rehearsal.took_s:.1f}"} s.</p>
<p class="soft">\
% if rehearsal.filled:
Made-up rows: ${", ".join(f"{one.rows:,} in {one.table}" + (f" ({one.why})" if one.why else "") for one in rehearsal.filled)}.\
% else:
No table of before is touched.\
% endif
</p>
% else:
<p>Nothing to rehearse (${rehearsal.how}).</p>
% endif
</header>
% if rehearsal.loads:
<section>
<h2>Under load</h2>
<div class="scroll"><table>
<tr><th>applied by</th><th>longest wait of a client</th><th>99 % waited less: before</th><th>during</th><th>after</th><th>failed</th></tr>
% for measured in rehearsal.loads:
<tr>${"".join(f"<td>{cell}</td>" for cell in measured.cells()) | n}</tr>
% endfor
</table></div>
</section>
% endif
% for one in rehearsal.revisions:
<%
    found = [item for item in rehearsal.findings if item.revision == one.revision]
    highest = max((each.longest_ms for way in rehearsal.loads for each in way.windows if each.revision == one.revision), default=0)
    bad = any(item.level == "error" and not item.waived for item in found)
%>\
<section>
<h2><span class="${'bad' if bad else 'ok'}">${'✕' if bad else '✓'}</span> ${one.label}</h2>
<p class="soft"><code>${relative(one.path)}</code></p>
% for item in found:
<div class="finding ${'waived' if item.waived else item.level}">
<p><span class="level">${'allowed' if item.waived else item.level}</span> <b>${item.title}</b> <code class="soft">${item.rule}</code>
${f'<span class="soft">line {item.line}</span>' if item.line else '' | n}</p>
% for number, line in enumerate(item.observed.splitlines()):
% if number:
<p><code>${line}</code></p>
% else:
<p>${line[:1].upper() + line[1:]}.</p>
% endif
% endfor
% if item.waived:
<p>Because ${item.waived}.</p>
% else:
% if item.blocks:
<p>Blocks <b>${item.blocks}</b>.</p>
% endif
% if item.instead:
<pre>${item.instead}</pre>
% endif
% endif
</div>
% endfor
% if one.up.observations:
<h3>Locks while it ran</h3>
<div class="scroll">${drawing.timeline(one.up.observations) | n}</div>
<p class="key"><span style="--swatch: var(--all)">nobody may read or write</span><span style="--swatch: var(--writes)">nobody may write</span><span style="--swatch: var(--nobody)">keeps no reader or writer out</span></p>
% endif
% for measured in rehearsal.loads:
% for window in measured.windows:
% if window.revision == one.revision:
<h3>Waits of clients: ${measured.way}${f", exit {window.code}: {window.said}" if window.code else ""}</h3>
<div class="scroll">${drawing.waits(measured, window, highest) | n}</div>
% endif
% endfor
% endfor
% if rehearsal.loads:
<p class="key"><span style="--swatch: var(--read)">a read</span><span style="--swatch: var(--write)">a write</span><span style="--swatch: var(--all)">failed, or the longest</span></p>
% endif
<h3>Statements</h3>
<div class="scroll"><table>
<tr><th></th><th>SQL</th><th>ms</th><th>locks taken</th><th>did</th><th>WAL</th></tr>
% for number, seen in enumerate(one.up.observations, 1):
<tr><td class="number soft">${number}</td><td class="sql">${" ".join(seen.sql.split())}</td>
<td class="number">${f"{seen.duration_ms:.1f}"}</td>
<td>${"; ".join(f"{lock.words} on {lock.relation}" for lock in seen.taken)}</td>
<td>${"; ".join(did(seen))}</td><td class="number">${size(seen.wal_bytes)}</td></tr>
% endfor
</table></div>
</section>
% endfor
% if any(not item.agrees for item in rehearsal.opinions):
<section>
<h2>A second opinion</h2>
<p class="soft">Where squawk, which reads the text alone, and the server disagree.</p>
<div class="scroll"><table>
<tr><th>SQL</th><th>the server</th><th>squawk</th></tr>
% for item in rehearsal.opinions:
% if not item.agrees:
<tr><td class="sql">${" ".join(item.sql.split())}</td><td>${", ".join(item.server) or "nothing"}</td><td>${", ".join(item.squawk) or "nothing"}</td></tr>
% endif
% endfor
</table></div>
</section>
% endif
% if rehearsal.not_reached:
<section><p>Not reached: ${", ".join(rehearsal.not_reached)}.</p></section>
% endif
</body>
</html>
