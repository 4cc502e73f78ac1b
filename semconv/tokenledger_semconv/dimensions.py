"""The dimensions of cost: one list that attribution, rows, reports and views share."""

from dataclasses import dataclass
from typing import Final

from tokenledger_semconv import attributes, emitters


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way to group cost.

    Args:
        name: its name in `report --by`.
        column: its column in `token_ledger_events`.
        attribute: its span attribute and baggage key; "" if a reader derives it.
        keys: keywords that fill it in `attribution`, `default_metadata`, `tags`, `track_cost`, the
            usual one first. Its name is such a keyword too.
    """

    name: str
    column: str
    attribute: str = ""
    keys: tuple[str, ...] = ()


DIMENSIONS: Final = (
    Dimension("provider", "provider"),
    Dimension("model", "model"),
    Dimension("operation", "operation"),
    Dimension("user", "user_id", attributes.USER_ID, ("user_id",)),
    Dimension("session", "session_id", attributes.SESSION_ID, ("session_id",)),
    Dimension("organization", "organization_id", attributes.ORGANIZATION_ID, ("organization_id",)),
    Dimension("project", "project", attributes.PROJECT, ("project",)),
    Dimension("feature", "feature", attributes.FEATURE, ("feature",)),
    Dimension("team", "team", attributes.TEAM, ("team", "team_id")),
    Dimension("cost_center", "cost_center", attributes.COST_CENTER, ("cost_center",)),
    Dimension("agent", "agent_id", attributes.AGENT_ID, ("agent_id",)),
    Dimension("endpoint", "endpoint", attributes.ENDPOINT, ("endpoint",)),
    Dimension("app", "app_name", attributes.SERVICE_NAME),
    Dimension("release", "release", attributes.SERVICE_VERSION),
    Dimension("environment", "environment", attributes.DEPLOYMENT_ENVIRONMENT),
)
"""Every fixed dimension; `metadata.<key>` groups by any other key of the app's attribution."""

ROLLUP_DIMENSIONS: Final = tuple(
    dimension for dimension in DIMENSIONS if dimension.name not in {"provider", "model", "session"}
)
"""Dimensions with their own sums by hour and day. All sums except those by user are split by
provider and model anyway. There are nearly as many sessions as calls."""

ATTRIBUTION_KEYS: Final[dict[str, str]] = {
    key: dimension.attribute
    for dimension in DIMENSIONS
    if dimension.keys
    for key in (*dimension.keys, dimension.name)
}
"""Keyword of `attribution(...)` -> span attribute, for the keys that have a column."""

USUAL_KEYS: Final = frozenset(dimension.keys[0] for dimension in DIMENSIONS if dimension.keys)
"""The keywords that win over another spelling: `user_id` over `user`."""

_NAMES: Final[dict[str, str]] = {
    spelling: dimension.name
    for dimension in DIMENSIONS
    for spelling in (dimension.name, dimension.column, *dimension.keys)
}

RESOURCE_ATTRIBUTES: Final[dict[str, str]] = {
    **{attribute: attribute for attribute in ATTRIBUTION_KEYS.values()},
    attributes.USER_ID_ALIAS: attributes.USER_ID,
    emitters.END_USER_ID: attributes.USER_ID,
    attributes.SESSION_ID_ALIAS: attributes.SESSION_ID,
    attributes.AGENT_ID_ALIAS: attributes.AGENT_ID,
    "team": attributes.TEAM,
    "team.id": attributes.TEAM,
    "cost_center": attributes.COST_CENTER,
    "project": attributes.PROJECT,
    "feature": attributes.FEATURE,
    "department": f"{attributes.METADATA_PREFIX}department",
}
"""Resource attribute -> the attribute it fills, for calls that do not have it. The first one that
is set counts. Claude Code's documentation has its users set `department`, `team.id` and
`cost_center` (page "Monitoring", section on several teams, read in public copies 2026-11-28). A
bare `user`, `organization`, `agent`, `session` or `endpoint` is not read: on a resource these words
name machines and tools, not who pays."""


def dimension_name(spelling: str) -> str:
    """The dimension's name in reports: `user` for `user_id` too. Other text is unchanged."""
    return _NAMES.get(spelling, spelling)


METADATA_DIMENSION_PREFIX: Final = "metadata."
"""`report --by metadata.<key>` groups by a metadata key."""

MAX_VALUE_LENGTH: Final = 255
"""The most characters of one attribution value: the limit of the older trackers' columns, and far
below the 2,704 bytes of a btree entry."""

MAX_METADATA_KEYS: Final = 64
"""The most metadata keys of one call: W3C baggage guarantees room for 64 members."""
