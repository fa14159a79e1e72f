"""What is a panel here? One place for how panels look, so that boards only say what they ask.

Every panel has a description for people and asks Prometheus; `$model`, `$backend` and
`$datasource` are a board's variables. Nothing here knows what a board is about.
"""

from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
"""Columns of a board."""
Asked = tuple[str, str]
"""A query and how its lines are called."""


def line(
    title: str, about: str, unit: str, *asked: Asked, span: int = 8, is_stacked: bool = False
) -> timeseries.Panel:
    """Give lines over time."""
    panel = (
        timeseries.Panel()
        .title(title).description(about).unit(unit).datasource(SOURCE).span(span).height(8).min(0)
        .fill_opacity(30 if is_stacked else 8).line_width(1).show_points(kinds.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM).show_legend(True).calcs([])
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    )  # fmt: skip
    if is_stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    return _asking(panel, asked)


def number(
    title: str, about: str, unit: str, asked: Asked, *, steps: Iterable[tuple[float | None, str]],
    span: int = 4, decimals: int | None = None,
) -> stat.Panel:  # fmt: skip
    """Give one number, coloured by where it stands: (from, colour), the first without a from."""
    thresholds = boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    thresholds.steps([models.Threshold(value=at, color=colour) for at, colour in steps])
    panel = (
        stat.Panel()
        .title(title).description(about).unit(unit).datasource(SOURCE).span(span).height(4)
        .thresholds(thresholds)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(kinds.BigValueColorMode.VALUE).graph_mode(kinds.BigValueGraphMode.AREA)
    )  # fmt: skip
    if decimals is not None:
        panel.decimals(decimals)
    # A number over the whole range is worked out once, not anew for each point of a line.
    return _asking(panel, (asked,), is_instant="$__range" in asked[0])


def states(
    title: str, about: str, asked: Asked, words: dict[str, tuple[str, str]], span: int = 12
) -> statetimeline.Panel:
    """Give what stands when; `words` has text and colour for each value."""
    mapping = models.ValueMap(
        options={
            value: models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
    )
    thresholds = boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    thresholds.steps([models.Threshold(value=None, color="green")])
    panel = (
        statetimeline.Panel()
        .title(title).description(about).datasource(SOURCE).span(span).height(8)
        .mappings([mapping]).thresholds(thresholds).show_value(kinds.VisibilityMode.NEVER)
        .merge_values(True).fill_opacity(70).line_width(0).row_height(0.8)
        .legend(
            common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM).show_legend(True).calcs([])
        )
    )  # fmt: skip
    return _asking(panel, (asked,))


def board(uid: str, title: str, about: str, variables: Iterable[Any]) -> boards.Dashboard:
    """Give an empty board with its variables and links to the others."""
    made = (
        boards.Dashboard(title)
        .uid(uid).description(about).tags(["baseload"]).refresh("30s").time("now-1h", "now")
        .timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR).editable()
        .link(
            boards.DashboardLink("Baseload").type(models.DashboardLinkType.DASHBOARDS)
            .tags(["baseload"]).keep_time(True).as_dropdown(False).icon("external link").url("")
            .tooltip("").include_vars(False).target_blank(False)
        )
        .with_variable(boards.DatasourceVariable("datasource").label("Prometheus")
                       .type("prometheus").hide(models.VariableHide.DONT_HIDE))
    )  # fmt: skip
    for variable in variables:
        made.with_variable(variable)
    return made


def choice(name: str, label: str, query: str, *, is_multi: bool) -> boards.QueryVariable:
    """Give a variable whose values Prometheus knows."""
    variable = (
        boards.QueryVariable(name)
        .label(label).datasource(SOURCE).query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )  # fmt: skip
    if is_multi:
        variable.multi(True).include_all(True).all_value(".*")
        variable.current(models.VariableOption(selected=True, text="All", value="$__all"))
    return variable


def row(title: str) -> boards.Row:
    """Give a heading between panels."""
    return boards.Row(title)


def quantile(share: float, metric: str, by: str, selected: str) -> str:
    """Give a quantile of a histogram over the last interval; `by` may name further labels."""
    labels = ", ".join(("le", *([by] if by else [])))
    rate = f"rate({metric}_bucket{{{selected}}}[$__rate_interval])"
    return f"histogram_quantile({share:g}, sum by ({labels}) ({rate}))"


def _asking(panel: Any, asked: Iterable[Asked], *, is_instant: bool = False) -> Any:
    for index, (query, legend) in enumerate(asked):
        target = (
            prometheus.Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + index))
            .datasource(SOURCE)
        )  # fmt: skip
        panel.with_target(target.instant() if is_instant else target.range())
    return panel
