"""Writes the pictures of the README into docs/pictures.

    python docs/site/pictures.py speed     # the bars, from the figures in docs/pictures/speed.json
    python docs/site/pictures.py answer    # the output of the README's first command; needs the three backends

The figures of speed.json are those of docs/performance.md; benchmarks/inference.py measures them.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "pictures"
COMMAND = ["predict", "I love using DistilBERT!", "--backend", "all"]
THEMES = {  # name -> background, text, bars of this package, bars of the others
    "light": ("#ffffff", "#1f2328", "#3f51b5", "#c4c9d4"),
    "dark": ("#0d1117", "#e6edf3", "#8c9eff", "#4a5160"),
}
WIDTH, ROW, TOP, LEFT, RIGHT = 820, 24, 44, 270, 60  # pixels
FONT = "font-family='system-ui, sans-serif' font-size='14'"


def bars(speed: dict, theme: str) -> str:
    """Return an SVG of horizontal bars, the fastest first.

    Args:
        speed: What speed.json holds: a 'title', and names with sequences per second under 'here' and 'others'.
        theme: Name of a row of THEMES.
    """
    background, text, ours, others = THEMES[theme]
    rows = [(*row, ours) for row in speed["here"].items()] + [(*row, others) for row in speed["others"].items()]
    scale = (WIDTH - LEFT - RIGHT) / max(value for _, value, _ in rows)
    height = TOP + ROW * len(rows) + 10
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' {FONT} fill='{text}'>",
        f"<rect width='{WIDTH}' height='{height}' rx='6' fill='{background}'/>",
        f"<text x='{WIDTH / 2:g}' y='26' text-anchor='middle' font-weight='600'>{html.escape(speed['title'])}</text>",
    ]
    for index, (name, value, color) in enumerate(rows):
        y = TOP + ROW * index
        width = round(value * scale, 1)
        lines += [
            f"<text x='{LEFT - 10}' y='{y + 16}' text-anchor='end'>{html.escape(name)}</text>",
            f"<rect x='{LEFT}' y='{y + 3}' width='{width}' height='{ROW - 6}' rx='2' fill='{color}'/>",
            f"<text x='{LEFT + width + 6:g}' y='{y + 16}'>{value:g}</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def terminal(command: str, output: str) -> str:
    """Return an SVG of a terminal that shows a command and what it printed; it loads no font from another host."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    width = max(map(len, [command, *output.splitlines()])) + 4
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text(re.sub(r"\n{2,}", "\n", output).strip("\n")))
    svg = console.export_svg(title="distilbert", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code,", "")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Write the pictures that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=["speed", "answer"])
    if parser.parse_args().picture == "speed":
        speed = json.loads((PICTURES / "speed.json").read_text(encoding="utf-8"))
        for theme in THEMES:
            (PICTURES / f"speed-{theme}.svg").write_text(bars(speed, theme), encoding="utf-8")
        return
    run = subprocess.run([sys.executable, "-m", "distilbert_cli", *COMMAND], capture_output=True, text=True, check=True)
    words = [f'"{word}"' if " " in word else word for word in COMMAND]
    (PICTURES / "answer.svg").write_text(terminal(f"distilbert {' '.join(words)}", run.stdout), encoding="utf-8")


if __name__ == "__main__":
    main()
