"""HTML pages in one style: one file each, opened offline, light and dark, with its charts and scripts inside.

Another page is a template beside ``templates/report.html`` and a function that gathers what it shows::

    {% extends "base.html" %}
    {% from "parts.html" import badge, chart_figure, copy_line, text_table %}
    {% block title %}...{% endblock %}
    {% block navigation %}<a href="#summary">Summary</a>{% endblock %}
    {% block content %}<section id="summary">...</section>{% endblock %}

    render_page("history.html", charts={"trend": Chart(...)}, runs=runs)

``base.html`` has the blocks ``title`` and ``subtitle`` (plain text), ``icon`` (a colour: ``%23bd2318``), ``navigation``
and ``content``. ``parts.html`` has the parts: ``badge(verdict)``, ``copy_line(text, label)``, ``facts(pairs)``,
``text_table(table, id, sortable, filterable, facets, tall)``, ``chart_figure(id, chart, caption)`` and ``bars(group)``.
``assets/page.css`` has the classes they use, and its colours and sizes as variables. ``assets/page.js`` finds what it
brings to life by attributes: ``data-chart``, ``data-copy``, ``data-sortable``, ``data-filterable``, ``data-facets``,
``data-expands`` with ``data-part-of``.

Every string of a run is escaped by autoescaping, and goes through the filter ``printable``. Nothing of a run may be
marked safe. Scripts and styles are allowed by their hashes alone, so style and event attributes do not work, by design.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

from parity.report import figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment
    from markupsafe import Markup

    from parity.report.charts import Chart

NO_CHARTS: Mapping[str, Chart] = MappingProxyType({})

_FILTERS = ("decibel", "headroom", "mismatches", "moment", "number", "place", "printable", "ratio", "worst_tensors")
# A browser reads a script element to its end tag, whatever its type: these three may not stand in JSON there.
_UNSAFE_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def render_page(template: str, *, charts: Mapping[str, Chart] = NO_CHARTS, **context: object) -> str:
    """Return a page as one HTML document: no remote part, and no script but the package's own.

    Parameters
    ----------
    template
        A file of ``templates/`` that extends ``base.html``.
    charts
        Charts by the id of their ``chart_figure``; without any, the library that draws them is left out.
    context
        What the template shows.
    """
    scripts = _asset("uplot.js") if charts else "", _asset("page.js")
    styles = _asset("uplot.css") if charts else "", _asset("page.css")
    theme, script, style = _markup(_asset("theme.js")), _markup(*scripts), _markup(*styles)
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            charts=charts,
            theme_script=theme,
            page_script=script,
            page_style=style,
            page_data=_markup(embedded_json({name: chart.as_json() for name, chart in charts.items()})),
            policy=content_policy((theme, script), style),
        )
    )


def content_policy(scripts: tuple[str, ...], style: str) -> str:
    """Return a Content Security Policy that allows these scripts, this style sheet and embedded images alone."""
    return (
        f"default-src 'none'; script-src {' '.join(map(_source_hash, scripts))}; style-src {_source_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def embedded_json(content: object) -> str:
    """Return strict JSON that stays inside a script element: nothing of it can end the element or begin a comment.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    # What UTF-8 does not hold would be written otherwise than it was hashed or parsed.
    return text.encode("utf-8", "backslashreplace").decode("utf-8").translate(_UNSAFE_IN_SCRIPT)


def toml_names(names: Sequence[str]) -> str:
    """Return names as an array of TOML, to be pasted into a case file."""
    import tomlkit

    return tomlkit.item(list(names)).as_string()


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _markup(*texts: str) -> Markup:
    """Return text of this package, or made safe by it, for a template to write as it is."""
    from markupsafe import Markup

    return Markup("\n".join(text for text in texts if text))  # noqa: S704 - the package's own assets, and escaped JSON


@cache
def _asset(name: str) -> str:
    return resources.files("parity.report").joinpath("assets", name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("parity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(figures, name) for name in _FILTERS}
    environment.filters["toml_names"] = toml_names
    # Tables of text hold verdicts as words with their sign, and where figures went as a word; a page colours both.
    cells = {f"{sign} {verdict}": str(verdict) for verdict, sign in figures.SIGNS.items()}
    cells |= {"worse": "fail", "gone": "fail", "better": "pass"}
    environment.globals |= {"signs": figures.SIGNS, "verdict_cells": cells}
    return environment
