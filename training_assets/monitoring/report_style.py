"""How the report looks."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light;--ink:#1F2430;--soft:#5A6072;--line:#E4E6EE;--now:#4F43DD;
--before:#B9BDCB;--warn:#9A5B00;--fail:#B3202F;--good:#19703F}
*{box-sizing:border-box}
body{margin:0;background:#F6F7FA;color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.6rem;margin:0;line-height:1.25}
h2{font-size:1.15rem;margin:0 0 2px}
p{margin:0 0 12px;color:var(--soft)}
.place{overflow-wrap:anywhere;font-size:.85rem}
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:16px;margin:16px 0}
.verdict{border-left:6px solid var(--good)}
.verdict.warn{border-left-color:var(--warn)}
.verdict.fail{border-left-color:var(--fail)}
.verdict ul{list-style:none;margin:8px 0 0;padding:0}
.verdict li{padding:6px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
.tag{font-size:.75rem;font-weight:600;color:#fff;border-radius:4px;padding:2px 6px}
.tag.warn{background:var(--warn)}.tag.fail{background:var(--fail)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr));gap:12px}
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:10px 10px 4px;min-width:0}
figure.warn{border-color:var(--warn)}figure.fail{border-color:var(--fail);border-width:2px}
figcaption{display:flex;justify-content:space-between;gap:8px;font-size:.85rem;color:var(--soft);
overflow-wrap:anywhere}
figcaption b{color:var(--ink);white-space:nowrap}
figure.fail b{color:var(--fail)}figure.warn b{color:var(--warn)}
svg{display:block;width:100%;height:auto;font-family:inherit}
.legend{font-size:.85rem}.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;
margin:0 4px 0 8px}.legend .before{background:var(--before)}.legend .now{background:var(--now)}
.scroll{overflow-x:auto;margin-top:12px}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th{text-align:left;color:var(--soft);font-weight:500}
td,th{padding:5px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
td{font-variant-numeric:tabular-nums}
.bar{width:30%;min-width:60px}.bar i{display:block;height:8px;border-radius:4px;
background:var(--before)}
.bar.warn i{background:var(--warn)}.bar.fail i{background:var(--fail)}
.note{font-size:.85rem}
footer{color:var(--soft);font-size:.8rem}
@media(max-width:480px){main{padding:16px 10px}section{padding:12px}h1{font-size:1.35rem}
.bar{display:none}td,th{padding:5px 4px}
td:nth-child(-n+2){white-space:normal;overflow-wrap:anywhere}}
"""
