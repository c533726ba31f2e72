#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Looks at a report's pages in a headless browser, wide and narrow, light, dark and in print.

usage: check_pages.py PROGRAM [--pictures FOLDER]      PROGRAM writes pages into a folder: tests_pages

By the page's own geometry nothing is wider than the window, no text leaves its picture or stands on another, no picture
is empty, no part of the page is without words, text can be read on its ground, nothing of a record runs, and no request
leaves the page. A page with one of each planted fault comes first: all of them must be found.
Says so and exits with 77 where there is no Chromium.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import browser

WIDTHS = (1280, 390)
FAULTS = r"""
(() => {
  const faults = [], say = (what, element) => faults.push(what + ': ' + element.tagName.toLowerCase() + ' '
      + (element.getAttribute('class') || '') + ' ' + (element.textContent || '').slice(0, 60).replace(/\s+/g, ' '));
  const scrolls = element => element.closest('.scroll, pre');
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) say('wider than the window', page);
  const seen = element => element.checkVisibility();
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect();
    if (!seen(element) || element.closest('svg') && element.tagName != 'svg') continue;
    const outer = scrolls(element);
    if ((!outer || outer == element) && (box.right > innerWidth + 0.5 || box.left < -0.5)) say('out of the window', element);
    // Words that are wider than what they stand in, where nothing lets a reader scroll.
    if (!outer && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
        && getComputedStyle(element).display != 'inline' && element.tagName != 'svg') say('wider than its place', element);
  }
  for (const svg of document.querySelectorAll('svg')) {
    if (!seen(svg)) continue;
    const frame = svg.getBoundingClientRect();
    const hidden = svg.getAttribute('aria-hidden') == 'true';
    if (!hidden && !svg.getAttribute('aria-label')) say('no words for those who cannot see', svg);
    const shown = [...svg.querySelectorAll('.mark, .dot, rect')].filter(
        shape => { const box = shape.getBoundingClientRect(); return box.width > 0.5 && box.height > 0.5; });
    if (shown.length == 0 || frame.width < 10 || frame.height < 10) say('an empty picture', svg);
    for (const part of svg.querySelectorAll('*')) {
      for (const attribute of part.attributes)
        if (/nan|inf/i.test(attribute.value) && /^(d|x|y|cx|cy|r|width|height|transform)$/.test(attribute.name))
          say('not a number', part);
    }
    if (hidden) continue;
    const boxes = [];
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (box.width == 0) say('a text of no width', text);
      if (box.height < 10) say('too small to be read', text);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        say('text outside its picture', text);
      // A line's box is higher than its letters.
      const slack = box.height * 0.16;
      boxes.push([text, box.left, box.right, box.top + slack, box.bottom - slack]);
    }
    for (const line of svg.querySelectorAll('.line, .plan, .budget, .best')) {
      if (line.tagName != 'path') continue;
      const place = line.getScreenCTM(), length = line.getTotalLength();
      for (let at = 0; at <= length; at += 2) {
        const point = line.getPointAtLength(at).matrixTransform(place);
        const struck = boxes.find(box => point.x > box[1] && point.x < box[2] && point.y > box[3] && point.y < box[4]);
        if (struck) { say('a line through text', struck[0]); break; }
      }
    }
    for (let i = 0; i < boxes.length; ++i) for (let j = 0; j < i; ++j) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a[1] < b[2] && b[1] < a[2] && a[3] < b[4] && b[3] < a[4]) say('text on text, ' + b[0].textContent, a[0]);
    }
  }
  for (const part of document.querySelectorAll('section')) {
    const words = [...part.children].filter(child => child.tagName != 'H2').map(child => child.innerText).join('').trim();
    if (words.length < 10) say('a part without words', part);
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.caption || [...table.querySelectorAll('th')].some(cell => !cell.scope)) say('a table without headings', table);
  }
  for (const script of document.querySelectorAll('script, iframe, object, embed, img, link[rel=stylesheet]')) say('a stranger', script);
  if (document.body.dataset.broken) say('a record was obeyed', document.body);
  // WCAG's ratio of luminances; 4.5 is what it asks of text.
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const luminance = colour => channels(colour).slice(0, 3).map(value => value / 255)
      .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
      .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0.5) return colour;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const told = new Set();
  for (const element of document.body.querySelectorAll('p, h1, h2, h3, dt, dd, small, b, li, summary, th, td, caption, code, text, figcaption')) {
    if (!seen(element) || !element.textContent.trim()) continue;
    const style = getComputedStyle(element), colour = element.tagName == 'text' ? style.fill : style.color;
    const [a, b] = [luminance(colour), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), key = colour + ground(element);
    if (ratio < 4.5 && !told.has(key)) told.add(key), say('contrast ' + ratio.toFixed(1), element);
  }
  return faults;
})()
"""

PLANTED = {  # what is planted, and what must be found
    '<div style="width:2000px">wide</div>': "out of the window",
    '<p style="width:100px;white-space:nowrap">words that are wider than their place, by far</p>': "wider than its place",
    '<svg viewBox="0 0 300 200" aria-label="e"><text x="10" y="20">an axis</text></svg>': "an empty picture",
    '<svg viewBox="0 0 300 200" aria-label="o"><rect width="9" height="9"/><text x="280" y="20">overflowing</text></svg>':
        "text outside its picture",
    '<svg viewBox="0 0 300 200" aria-label="t"><rect width="9" height="9"/><text x="20" y="20">one</text><text x="30" y="24">two</text></svg>':
        "text on text",
    '<svg viewBox="0 0 300 200" aria-label="s"><rect width="9" height="9"/><path class="plan" d="M0 16H300"/><text x="40" y="20">struck</text></svg>':
        "a line through text",
    '<svg viewBox="0 0 300 200" aria-label="n"><rect width="9" height="9"/><path d="MnanL1 2"/></svg>': "not a number",
    '<svg viewBox="0 0 300 200"><rect width="9" height="9"/></svg>': "no words for those who cannot see",
    '<section><h2>Nothing</h2></section>': "a part without words",
    '<p style="color:#aaa;background:#fff">pale</p>': "contrast 2.3",
    '<table><tr><td>1</td></tr></table>': "a table without headings",
    '<script>document.body.dataset.broken = 1</script>': "a record was obeyed",
    '<img src="http://127.0.0.1:9/planted.png">': "a request",
}


def faults_of(page, path, width, scheme="light", media="screen"):
    page.show(path, width, scheme, media)
    page.ask("document.querySelectorAll('details').forEach(part => part.open = true)")
    found = page.ask(FAULTS)
    page.ask("new Promise(done => setTimeout(done, 20))")
    return found + [f"a request: {url}" for url in page.requests
                    if not url.startswith("data:") and url != path.resolve().as_uri()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--pictures", type=pathlib.Path, help="folder for a picture of each page")
    arguments = parser.parse_args()
    program = browser.find()
    if not program:
        print("SKIPPED: no Chromium; scripts/setup --browser installs it")
        return 77
    failures = 0
    with tempfile.TemporaryDirectory() as name, browser.Browser(program) as page:
        folder = pathlib.Path(name)
        subprocess.run([arguments.program, name], check=True)
        pages = sorted(folder.glob("*.html"))
        assert len(pages) >= 7, pages

        clean = (folder / "empty.html").read_text(encoding="utf-8")
        policy = clean[clean.index("<meta http-equiv"):].split(">")[0] + ">"
        for plant, expected in PLANTED.items():
            planted = folder / "planted"
            planted = planted.with_suffix(".htm")
            planted.write_text(clean.replace(policy, "").replace("<footer>", plant + "<footer>"), encoding="utf-8")
            found = faults_of(page, planted, 1280)
            if not any(fault.startswith(expected) for fault in found):
                print(f"a planted fault was not found: {expected!r} in {plant}; found {found}")
                failures += 1
        for path in pages:
            views = [(width, scheme, "screen") for width in WIDTHS for scheme in ("light", "dark")] + [(720, "light", "print")]
            for width, scheme, media in views:
                found = faults_of(page, path, width, scheme, media)
                for fault in found[:20]:
                    print(f"{path.name} at {width}, {scheme}, {media}: {fault}")
                failures += len(found)
                if arguments.pictures:
                    arguments.pictures.mkdir(parents=True, exist_ok=True)
                    page.picture(arguments.pictures / f"{path.stem}-{width}-{scheme}-{media}.png")
        print(f"{len(pages)} pages, {len(PLANTED)} planted faults, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
