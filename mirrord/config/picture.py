"""The topology as a picture: a text for terminals, Mermaid for documents, SVG for browsers."""

from __future__ import annotations

from html import escape
from math import cos, hypot, pi, sin

from .model import Config
from .topology import edges, links_of

_RADIUS = 30  # of a node, px
_COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#14b8a6")
_STYLE = (
    "svg{color:#1f2937;background:#ffffff;font:13px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){svg{color:#e5e7eb;background:#111827}}"
    "circle{fill:none;stroke:currentColor;stroke-width:2}text{fill:currentColor}"
    ".name{text-anchor:middle;dominant-baseline:central;font-weight:600}path{fill:none;stroke-width:2}"
)


def as_text(config: Config) -> str:
    """Each node with what it pulls from whom; arrows point the way that records travel."""
    width = max(map(len, config.nodes))
    lines = [f"cluster {config.cluster}"]
    for node in config.nodes.values():
        lines += ["", f"{node.name.ljust(width)}  {node.url}"]
        plans = links_of(config, node.name)
        for plan in plans:
            via = f"  via {plan.url}" if plan.url != config.nodes[plan.peer].url else ""
            halt = "  on_gap halt" if plan.on_gap == "halt" else ""
            lines.append(f"  <- {plan.peer.ljust(width)}  {', '.join(map(str, plan.wants))}{via}{halt}")
        if not plans:
            lines.append("  pulls from nobody")
    return "\n".join(lines) + "\n"


def as_mermaid(config: Config) -> str:
    """A Mermaid flowchart; two nodes that pull the same from each other share one two-headed arrow."""
    ids = {name: f"n{number}" for number, name in enumerate(config.nodes)}
    lines = [
        "flowchart LR",
        *(f'  {ids[name]}["{name}<br/>{node.url}"]' for name, node in config.nodes.items()),
    ]
    carried = _carried(config)
    for (source, puller), topics in carried.items():
        both = carried.get((puller, source)) == topics
        if not both or ids[source] < ids[puller]:
            lines.append(f'  {ids[source]} {"<-->" if both else "-->"}|"{topics}"| {ids[puller]}')
    return "\n".join(lines) + "\n"


def as_svg(config: Config) -> str:
    """A self-contained SVG: nodes on a circle, an arrow per link, a colour per selection of topics."""
    carried = _carried(config)
    selections = list(dict.fromkeys(carried.values()))
    colours = {topics: _COLOURS[number % len(_COLOURS)] for number, topics in enumerate(selections)}
    ring = max(120.0, len(config.nodes) * _RADIUS * 3 / (2 * pi))
    side = 2 * (ring + 2 * _RADIUS)
    width = max([side, *(60 + 8 * len(topics) for topics in selections)])
    height = side + 24 * len(selections) + 8
    places = _places(list(config.nodes), ring, (width / 2, side / 2))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(config.cluster)}</title><style>{_STYLE}</style>",
        *(_arrow(places[source], places[puller], colours[topics], f"{source} to {puller}: {topics}")
          for (source, puller), topics in carried.items()),
        *(_node(name, node.url, places[name]) for name, node in config.nodes.items()),
        *(_legend(topics, colours[topics], side + 24 * number) for number, topics in enumerate(selections)),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _carried(config: Config) -> dict[tuple[str, str], str]:
    """(source, puller) to the topics that travel there, as text."""
    plans = {(plan.peer, node): plan for node in config.nodes for plan in links_of(config, node)}
    return {edge: ", ".join(map(str, plans[edge].wants)) for edge in edges(config)}


def _places(names: list[str], ring: float, centre: tuple[float, float]) -> dict[str, tuple[float, float]]:
    step = 2 * pi / len(names)
    return {
        name: (centre[0] + ring * sin(number * step), centre[1] - ring * cos(number * step))
        for number, name in enumerate(names)
    }


def _node(name: str, url: str, place: tuple[float, float]) -> str:
    x, y = place
    shown = name if len(name) <= 7 else name[:6] + "…"
    return (
        f'<g><title>{escape(name)} {escape(url)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
        f'<text class="name" x="{x:.1f}" y="{y:.1f}">{escape(shown)}</text></g>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str, meaning: str) -> str:
    """From rim to rim, a little to the side, so that the two directions of a pair lie beside each other."""
    (x1, y1), (x2, y2) = start, end
    length = hypot(x2 - x1, y2 - y1)
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    sx, sy = -uy * 6, ux * 6
    gap = _RADIUS + 2
    ax, ay = x1 + ux * gap + sx, y1 + uy * gap + sy
    bx, by = x2 - ux * gap + sx, y2 - uy * gap + sy
    head = " ".join(
        f"L{bx - ux * 10 + wing * -uy * 5:.1f},{by - uy * 10 + wing * ux * 5:.1f} M{bx:.1f},{by:.1f}"
        for wing in (1, -1)
    )
    line = f"M{ax:.1f},{ay:.1f} L{bx:.1f},{by:.1f} {head}"
    return f'<g><title>{escape(meaning)}</title><path d="{line}" stroke="{colour}"/></g>'


def _legend(topics: str, colour: str, y: float) -> str:
    return (
        f'<path d="M12,{y:.0f} h28" stroke="{colour}"/>'
        f'<text x="48" y="{y:.0f}" dominant-baseline="central">{escape(topics)}</text>'
    )
