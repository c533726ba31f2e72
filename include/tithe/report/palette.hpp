// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string_view>

/// Colours of pictures, light and dark.
///
/// Series have those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers tell apart,
/// brightened on a dark ground; each has a mark of its own besides (plot.hpp). The ramp of scores has even steps of
/// lightness in OKLab, so that it is read right without any colour: more is darker on a light ground, and brighter on a
/// dark one. Print is always light.
namespace tithe {

inline constexpr std::string_view light_colours = R"(
--ground:#fcfcfa;--card:#ffffff;--ink:#1b1b1b;--soft:#5c5c58;--rule:#dddcd6;--grid:#e6e5e0;--accent:#00629b;
--tint:#e8f1f7;--warn:#9a4a00;
--c0:#d55e00;--c1:#b8578f;--c2:#00815e;--c3:#0072b2;--c4:#1b1b1b;--c5:#b87d00;--c6:#3590c6;
--r0:#e2f7ff;--r1:#bfe3fb;--r2:#9ecef2;--r3:#80b9e7;--r4:#64a3da;--r5:#4c8dcb;--r6:#3978ba;--r7:#2962a5;--r8:#1e4e8f;
--r9:#163a76;)";

inline constexpr std::string_view dark_colours = R"(
--ground:#16181b;--card:#1d2024;--ink:#eceae4;--soft:#a7a69f;--rule:#3a3d42;--grid:#2c2f34;--accent:#6bbdf0;
--tint:#1d2f3d;--warn:#f0a860;
--c0:#f58549;--c1:#e29cc4;--c2:#35c49a;--c3:#5aaee8;--c4:#eceae4;--c5:#f0b429;--c6:#a5dcff;
--r0:#00274a;--r1:#003a64;--r2:#004e7d;--r3:#056396;--r4:#1579ae;--r5:#2890c4;--r6:#3fa7d9;--r7:#59beec;--r8:#75d5fe;
--r9:#94ecff;)";

/// What the classes of plot.hpp and of the pictures look like.
inline constexpr std::string_view figure_style = R"(
svg text{font:12px system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif;font-variant-numeric:tabular-nums;fill:var(--soft)}
svg text.ink{fill:var(--ink)}svg text.strong{fill:var(--ink);font-weight:600}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}
.r0{fill:var(--r0)}.r1{fill:var(--r1)}.r2{fill:var(--r2)}.r3{fill:var(--r3)}.r4{fill:var(--r4)}.r5{fill:var(--r5)}
.r6{fill:var(--r6)}.r7{fill:var(--r7)}.r8{fill:var(--r8)}.r9{fill:var(--r9)}
.grid{stroke:var(--grid)}.axis{stroke:var(--soft)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}.line.accent{--c:var(--accent);stroke-width:2.5}
.mark{fill:var(--c);stroke:var(--c);stroke-width:1.6;stroke-linejoin:round;transform:scale(.8)}
.line.d1,.d1 .line{stroke-dasharray:7 3}.line.d2,.d2 .line{stroke-dasharray:1.5 3}.d1 .mark,.d2 .mark{fill:var(--card)}
.whisker{fill:none;stroke:var(--c);opacity:.55}.leader{stroke:var(--c,var(--ink));opacity:.5}
.quiet{visibility:hidden}.point:hover .quiet{visibility:visible}
.reach{fill:transparent}.point:hover .mark{transform:scale(1.3)}.point:hover .dot{fill:var(--accent);r:5px}
.dot{fill:var(--accent)}.band{fill:var(--accent);opacity:.16}.region{fill:var(--tint)}
.plan{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
.halo{fill:none;stroke:var(--card);stroke-width:4.5;opacity:.85}
.budget{fill:none;stroke:var(--ink);stroke-width:1.6}.budget.other{stroke-width:1;stroke-dasharray:3 3}
.best{fill:none;stroke:var(--c0);stroke-width:5;stroke-linecap:round}
.observed{stroke:var(--card);stroke-width:1.6;paint-order:normal;filter:drop-shadow(0 0 .8px var(--ink))}
.optimum{fill:var(--card);stroke:var(--c0);stroke-width:3}
svg rect{shape-rendering:crispEdges}svg rect:hover{stroke:var(--ink)}
)";

}  // namespace tithe
