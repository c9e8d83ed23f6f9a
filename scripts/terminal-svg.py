#!/usr/bin/env python3
"""Draws what a terminal showed as an SVG, for the README.

    tmux capture-pane -e -p -t chat | scripts/terminal-svg.py TITLE > docs/chat.svg

Understands bold, dim, and the 16 and 256 colours of SGR sequences; everything else is dropped. Standard library only.
"""
import html, re, sys

BASIC = ["#1e1e2e", "#f38ba8", "#a6e3a1", "#f9e2af", "#89b4fa", "#cba6f7", "#94e2d5", "#cdd6f4",
         "#6c7086", "#f38ba8", "#a6e3a1", "#f9e2af", "#89b4fa", "#cba6f7", "#94e2d5", "#ffffff"]
CW, LH, PAD = 8.4, 19, 16


def colour(n):
    if n < 16:
        return BASIC[n]
    if n >= 232:
        return "#" + f"{8 + (n - 232) * 10:02x}" * 3
    n -= 16
    return "#" + "".join(f"{(0, 95, 135, 175, 215, 255)[n // d % 6]:02x}" for d in (36, 6, 1))


def apply(style, codes):
    codes = [int(c or 0) for c in codes.split(";")]
    while codes:
        c = codes.pop(0)
        if c == 0: style.clear()
        elif c == 1: style["bold"] = True
        elif c == 2: style["dim"] = True
        elif c == 22: style.pop("bold", None); style.pop("dim", None)
        elif 30 <= c <= 37 or 90 <= c <= 97: style["fg"] = BASIC[c - 30 if c < 90 else c - 82]
        elif 40 <= c <= 47: style["bg"] = BASIC[c - 40]
        elif c in (38, 48) and codes[:1] == [5]: style["fg" if c == 38 else "bg"] = colour(codes[1]); codes = codes[2:]
        elif c == 39: style.pop("fg", None)
        elif c == 49: style.pop("bg", None)


def runs(line, style):
    for part in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        if part.startswith("\x1b"):
            if part.endswith("m"): apply(style, part[2:-1])
        elif part:
            yield part, dict(style)


def main():
    lines = sys.stdin.read().rstrip("\n").split("\n")
    style, rows, width = {}, [], 40
    for line in lines:
        row = list(runs(line, style))
        rows.append(row)
        width = max(width, sum(len(t) for t, _ in row))
    w, h = width * CW + 2 * PAD, len(rows) * LH + 2 * PAD + 24
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" '
          'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="14">')
    print(f'<title>{html.escape(sys.argv[1] if len(sys.argv) > 1 else "terminal")}</title>')
    print(f'<rect width="{w:.0f}" height="{h:.0f}" rx="10" fill="#1e1e2e"/>')
    for i, c in enumerate(("#f38ba8", "#f9e2af", "#a6e3a1")):
        print(f'<circle cx="{PAD + 6 + 18 * i}" cy="18" r="6" fill="{c}"/>')
    for i, row in enumerate(rows):
        x, y = PAD, PAD + 24 + i * LH + 13
        for text, s in row:
            n = len(text)
            if "bg" in s:
                print(f'<rect x="{x:.1f}" y="{y - 14}" width="{n * CW:.1f}" height="{LH}" fill="{s["bg"]}"/>')
            if text.strip():
                look = f' font-weight="bold"' if "bold" in s else ""
                look += f' opacity="0.6"' if "dim" in s else ""
                print(f'<text x="{x:.1f}" y="{y}" fill="{s.get("fg", "#cdd6f4")}"{look} xml:space="preserve" '
                      f'textLength="{n * CW:.1f}">{html.escape(text)}</text>')
            x += n * CW
    print("</svg>")


main()
