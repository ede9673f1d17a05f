"""Fills a template: everything that is not our own markup is escaped and cleaned on its way out."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from negsieve.report import figures, words
from negsieve.store.atomic import write_text

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, values: dict) -> Path:
    """Renders ``template`` into one self-contained HTML file at ``path``, whole or not at all."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    world = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else words.clean(value),
    )
    for tool in (words.number, words.signed, words.share, words.probability, words.duration, words.plural):
        world.filters[tool.__name__] = tool
    world.filters["breakable"] = _breakable
    world.globals["swatch"] = figures.swatch
    world.globals["meaning"] = words.MEANING
    world.globals["style"] = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))
    write_text(path, world.get_template(template).render(values))
    return path


def _breakable(name: str) -> Markup:
    """A method's name, escaped, that may break after each colon, comma and slash."""
    parts = re.split(r"(?<=[:,/])", words.clean(name))
    return Markup("<wbr>").join(parts)
