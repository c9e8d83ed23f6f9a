"""bars.py: the plot of bench.py's section on speed: pairs of bars as plain SVG, no library. A bar's length is the share of what
the machine allows, so that models of any size and both kinds of work can be seen beside each other; its text is tokens a second."""
WIDTH, LEFT, RIGHT = 860, 250, 90   # the labels' room, and that of the figures behind the longest bar
BAR, ROW, HEAD = 13, 38, 52         # heights: a bar, a pair with its space, a group's heading and scale
STYLE = ("svg{background:#fff;font-family:system-ui,sans-serif}.head{font-size:14px;font-weight:600;fill:#1c1d1f}"
         ".tick{font-size:12px;fill:#64676d}.name{font-size:12px;fill:#1c1d1f}"
         "line{stroke:#e6e6e3}.wick{fill:#2563c9}.peer{fill:#b9bcc2}")


def text(x, y, words, style, anchor="start"):
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def scale(y, height):
    """Lines at quarters of the limit, from y on."""
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x = LEFT + (WIDTH - LEFT - RIGHT) * percent / 100
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{y}" y2="{y + height}"/>')
        parts.append(text(x, y - 5, f"{percent} %", "tick", "middle"))
    return parts


def pair(y, name, ours, theirs, limit):
    """One model's two bars; without a known limit the faster one is as long as can be."""
    parts = [text(LEFT - 8, y + BAR + 4, name, "name", "end")]
    for k, (rate, style) in enumerate(((ours, "wick"), (theirs, "peer"))):
        share = rate / (limit or max(ours, theirs))
        length = (WIDTH - LEFT - RIGHT) * min(share, 1)
        parts.append(f'<rect class="{style}" x="{LEFT}" y="{y + k * BAR}" width="{length:.1f}" height="{BAR - 1}"/>')
        figure = f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}"
        if share > 1.02:
            figure += f" ({share * 100:.0f} %)"  # its bar ends at the scale's end
        parts.append(text(LEFT + length + 5, y + k * BAR + BAR - 2, figure, "tick"))
    return parts


def draw(groups):
    """SVG of groups [(heading, [(name, wick's tokens a second, llama.cpp's, the limit or 0)])]."""
    parts, y = [], 30
    parts += ['<rect class="wick" x="10" y="12" width="12" height="12"/>', text(27, 23, "wick", "name")]
    parts += ['<rect class="peer" x="75" y="12" width="12" height="12"/>', text(92, 23, "llama.cpp", "name")]
    parts.append(text(LEFT, 23, "length: share of the machine's limit; figures: tokens a second", "tick"))
    for heading, rows in groups:
        parts.append(text(10, y + HEAD - 10, heading, "head"))
        parts += scale(y + HEAD - 4, ROW * len(rows))
        for i, row in enumerate(rows):
            parts += pair(y + HEAD + ROW * i, *row)
        y += HEAD + ROW * len(rows)
    height = y + 10
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">'
            f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n")
