/** How the report looks: one style sheet, light and dark, with no font or image from elsewhere. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--line:#dfe3e8;--ink:#1b2330;--soft:#5d6877;
--done:#1f8a5b;--move:#2f6fde;--fail:#c8372d;--wait:#c3cad4;--hold:#b7791f}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1a2029;--line:#2c3542;--ink:#e6eaf0;--soft:#98a4b3;
--done:#3dbb83;--move:#5b95f5;--fail:#f0685e;--wait:#3d4857;--hold:#dda23c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}
h2{font-size:17px;margin:36px 0 12px}
p{margin:0}
code,.mono{font-family:ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace;font-size:.92em}
.soft{color:var(--soft)}
.card>.bar{margin-top:4px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px}
.top{display:flex;gap:12px 24px;align-items:flex-start;justify-content:space-between;flex-wrap:wrap;margin-bottom:18px}
.pill{display:inline-block;padding:2px 10px;border-radius:99px;font-size:13px;font-weight:600;color:#fff;background:var(--soft);white-space:nowrap}
@media(prefers-color-scheme:dark){.pill{color:#10141a}}
.pill.done{background:var(--done)}.pill.fail{background:var(--fail)}.pill.move{background:var(--move)}.pill.hold{background:var(--hold)}
.pill.big{font-size:15px;padding:5px 14px}
.bar{display:flex;height:10px;border-radius:5px;overflow:hidden;background:var(--wait);margin:14px 0 8px}
.bar i{display:block;min-width:3px}
.bar .done,.dot.done{background:var(--done)}.bar .move,.dot.move{background:var(--move)}
.bar .fail,.dot.fail{background:var(--fail)}.bar .wait,.dot.wait{background:var(--wait)}
.legend{display:flex;gap:4px 18px;flex-wrap:wrap;font-size:13.5px;color:var(--soft)}
.legend b{color:var(--ink);font-weight:600}
.dot{display:inline-block;width:9px;height:9px;border-radius:3px;margin-right:6px}
.stop{border-left:4px solid var(--fail);margin-top:18px}.stop.hold{border-left-color:var(--hold)}
.stop b{display:block;margin-bottom:2px}
.waves{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.wave{padding:12px 14px}.wave.runs,.wave.soaks{border-color:var(--move);box-shadow:inset 0 3px 0 var(--move)}
.wave.over{box-shadow:inset 0 3px 0 var(--done)}.wave.bad{border-color:var(--fail);box-shadow:inset 0 3px 0 var(--fail)}
.wave .n{font-size:22px;font-weight:650;line-height:1.3}
.wave .bar{height:6px;margin:8px 0 6px}
table{border-collapse:collapse;width:100%}
th{font-size:12.5px;font-weight:600;color:var(--soft);text-align:left}
td,th{padding:6px 14px 6px 0;vertical-align:top;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}
td:last-child,th:last-child{padding-right:0;width:45%}
.changes td:last-child,.changes th:last-child{width:auto}
td{overflow-wrap:anywhere}
details.group{margin-bottom:10px;padding:0}
details.group>summary{list-style:none;cursor:pointer;padding:14px 20px;display:grid;grid-template-columns:minmax(120px,1.2fr) 2fr minmax(150px,1.3fr) 16px;gap:6px 18px;align-items:center}
summary::-webkit-details-marker{display:none}
details.group>summary::after{content:"";width:8px;height:8px;border-right:2px solid var(--soft);border-bottom:2px solid var(--soft);transform:rotate(45deg)}
details.group[open]>summary::after{transform:rotate(-135deg)}
summary:focus-visible{outline:2px solid var(--move);outline-offset:-2px;border-radius:10px}
.group .bar{margin:0}
.group .in{padding:2px 20px 14px;border-top:1px solid var(--line)}
.right{text-align:right}
footer{margin-top:40px;font-size:13px}
@media(max-width:640px){details.group>summary{grid-template-columns:1fr 16px}.group .bar,.right{grid-column:1;text-align:left}
td:last-child,th:last-child{width:auto}td,th{padding-right:8px}.opt{display:none}}
@media print{body{background:#fff}.card{break-inside:avoid}}
`
