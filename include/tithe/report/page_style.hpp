// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/report/palette.hpp"

/// The looks of a report's page: one column of text, pictures that fold, tables that scroll in place.
namespace tithe {

inline constexpr std::string_view page_rules = R"(
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);line-height:1.55;
font-family:system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif;font-size:16px;overflow-wrap:break-word}
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.05rem;font-weight:600;color:var(--soft);margin:0 0 1.25rem;letter-spacing:.01em}
h2{font-size:1.3rem;line-height:1.3;margin:0 0 .5rem}
h3{font-size:1rem;margin:1.5rem 0 .25rem}
p{margin:.4rem 0 .8rem;max-width:44rem}
a{color:var(--accent)}
section{margin-top:3rem;padding-top:1.75rem;border-top:1px solid var(--rule)}
.answer{border:0;margin:0;padding:0}
.lead{font-size:clamp(1.35rem,1rem + 1.6vw,2rem);line-height:1.25;font-weight:650;letter-spacing:-.01em;max-width:50rem;margin:0 0 1rem}
.lead b{color:var(--accent);font-weight:inherit}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:.75rem;margin:1.5rem 0}
.facts div{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.8rem 1rem}
.facts dt{color:var(--soft);font-size:.85rem;margin:0}
.facts dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.facts dd small{display:block;font-weight:400;font-size:.85rem;color:var(--soft);line-height:1.4}
.notes{margin:1rem 0;padding:.2rem 0 .2rem 1rem;border-left:3px solid var(--warn);list-style:none;max-width:44rem}
.notes li{margin:.35rem 0}
.absent{color:var(--soft);font-style:italic}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));gap:1.25rem 1.5rem;margin:1rem 0}
figure{margin:1rem 0;min-width:0}
.panels figure{margin:0}
@media (min-width:62rem){.beside{display:grid;grid-template-columns:minmax(0,21rem) minmax(0,36rem);column-gap:3rem;align-items:start}
.beside figure{margin:0}}
figcaption{font-weight:600;font-size:.92rem;margin-bottom:.35rem}
figure.wide{max-width:36rem}
figure svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;margin:.75rem 0;padding:0;font-size:.88rem;color:var(--soft)}
.legend li{display:flex;align-items:center;gap:.4rem}
.legend svg{width:22px;height:14px;overflow:visible}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--accent);font-size:.92rem;width:fit-content}
.scroll{overflow-x:auto;margin:.6rem 0;border:1px solid var(--rule);border-radius:.5rem;background:var(--card)}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
caption{overflow-wrap:anywhere;text-align:left;color:var(--soft);padding:.6rem .8rem;font-size:.86rem}
th,td{padding:.38rem .7rem;text-align:right;white-space:nowrap;vertical-align:top}
th{font-weight:600;color:var(--soft)}
thead th{border-bottom:1px solid var(--rule);white-space:normal;vertical-align:bottom}
tbody tr+tr>*{border-top:1px solid var(--grid)}
tbody th{color:var(--ink);font-weight:400}
.left{text-align:left}
.prose{white-space:normal;min-width:14rem}
tbody tr.first>*{font-weight:600;background:var(--tint)}
pre{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;font-size:.85rem;line-height:1.5;margin:.6rem 0}
code,.key{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
dl.plain{display:grid;grid-template-columns:fit-content(13rem) minmax(0,1fr);gap:.15rem 1.25rem;margin:.6rem 0;font-size:.92rem}
dl.plain dt{color:var(--soft);overflow-wrap:anywhere}dl.plain dd{margin:0;min-width:0;overflow-wrap:anywhere}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media print{
:root{--ground:#fff}figure details:not([open]){display:none}
.beside{display:block}
main{max-width:none;padding:0}body{font-size:10.5pt}
section{break-inside:auto;margin-top:1.5rem;padding-top:1rem}
h2,h3,figcaption{break-after:avoid}figure,.facts div,tr{break-inside:avoid}
.scroll{overflow:visible;border:0}table{font-size:7.5pt}th,td{padding:.15rem .3rem;white-space:normal;overflow-wrap:anywhere}.prose{min-width:0}pre{white-space:pre-wrap}
.panels{grid-template-columns:1fr 1fr}
.region,.band,rect,path,circle{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
)";

/// The whole style of a page; of a picture alone without `page_rules`.
inline std::string style_text(std::string_view rules) {
  return ":root{" + std::string{light_colours} + "}\n@media screen and (prefers-color-scheme:dark){:root{" +
         std::string{dark_colours} + "}}\n" + std::string{figure_style} + std::string{rules};
}

}  // namespace tithe
