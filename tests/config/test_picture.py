"""The topology as text, Mermaid and SVG."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mirrord.config.load import load, parse
from mirrord.config.picture import as_mermaid, as_svg, as_text

CONFIGS = Path(__file__).parents[2] / "configs"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_text_says_who_pulls_what_from_whom() -> None:
    """A person in a terminal sees every link with its topics, renames and special ways."""
    assert as_text(load(str(CONFIGS / "chain.toml"))) == (
        "cluster plant\n"
        "\nfloor   http://127.0.0.1:4001\n  pulls from nobody\n"
        "\nplant   http://127.0.0.1:4002\n  <- floor   measurements\n"
        "\noffice  http://127.0.0.1:4003\n  <- plant   measurements as measurements-plant  on_gap halt\n"
    )
    via = (
        "[nodes.a]\n[nodes.b]\nlisten = 'h:1'\n[[links]]\npull = 'a'\nfrom = 'b'\ntopics = ['x']\nvia = 'http://t:9'\n"
    )
    assert "<- b  x  via http://t:9\n" in as_text(parse(via))


def test_mermaid_draws_a_pair_once() -> None:
    """Two nodes that pull the same from each other are one arrow with two heads, one direction has one."""
    assert as_mermaid(load(str(CONFIGS / "two-mirrors.toml"))) == (
        'flowchart LR\n  n0["left<br/>http://127.0.0.1:4001"]\n'
        '  n1["right<br/>http://127.0.0.1:4002"]\n  n0 <-->|"*"| n1\n'
    )
    assert as_mermaid(load(str(CONFIGS / "chain.toml"))).count(" -->|") == 2


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_the_svg_stands_alone(file: Path) -> None:
    """Every node and every link of any file is in a well-formed picture that loads nothing from elsewhere."""
    config = load(str(file))
    picture = as_svg(config)
    root = ElementTree.fromstring(picture)
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert len(list(root.iter(f"{SVG}circle"))) == len(config.nodes)
    assert len(titles) == 1 + len(config.nodes) + sum(1 for link in config.links for _ in link.pairs() if not link.via)
    assert picture.count("http") == 1 + len(config.nodes), "only the namespace and the nodes' own urls"
    assert "prefers-color-scheme:dark" in picture
