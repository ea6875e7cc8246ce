"""Which column of a table plays which role, by the names that logs commonly have.

chosen = roles.choose(columns, {"user": None, "item": None, "timestamp": "when"})
chosen["user"].column, chosen["user"].why
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rezoo.data.errors import DataError

ALIASES = {
    "user": "user userid uid customerid customer reviewerid memberid shopper",
    "item": "item itemid movie movieid iid asin parentasin stockcode product productid article articleid",
    "rating": "rating userrating weight stars score overall",
    "timestamp": "timestamp ts time datetime date invoicedate unixreviewtime",
    "session": "session sessionid invoiceno invoice basketid orderid",
}
"""Names by which a column is recognised, as `plain` gives them."""

KNOWN = {alias: role for role, names in ALIASES.items() for alias in names.split()}


class Role(NamedTuple):
    """What was chosen for a role."""

    column: str
    """Its name in the table."""
    why: str
    """The reason, in words."""


def plain(name: str) -> str:
    """A name without case, blanks and underscores."""
    return re.sub(r"[\s_]", "", name).lower()


def choose(
    columns: Iterable[str],
    given: Mapping[str, str | None],
    *,
    required: Iterable[str] = (),
    source: str = "table",
) -> dict[str, Role]:
    """The columns that play the roles of `given`; a role that none plays is not in the result.

    Args:
      columns: the table, or its columns' names.
      given: for each role that is looked for the name of its column, or None to recognise it.
      required: roles that there must be. Where a session is looked for, too, it stands for a user
        that is not there.
      source: what errors call the table, such as the file's name.

    Raises:
      DataError: if a given or required column is not there, or two columns look like one role.
    """
    names = list(columns)
    roles: dict[str, Role] = {}
    for role, name in given.items():
        if name is not None and name not in names:
            raise DataError(f"{source}: there is no column {name!r}; there are {names}")
        if name is not None:
            roles[role] = Role(name, "given")
    taken = {role.column for role in roles.values()}
    for name in names:
        role = KNOWN.get(plain(name))
        if role not in given or given[role] is not None or name in taken:
            continue
        if role in roles:
            raise DataError(
                f"{source}: both {roles[role].column!r} and {name!r} look like the {role} column. Say "
                f"which it is: {role}={name!r}."
            )
        roles[role] = Role(name, "by its name")
    if "user" in given and "user" not in roles and "session" in roles:
        roles["user"] = Role(roles["session"].column, "each session stands for a user, as no user is named")
    for role in required:
        if role not in roles:
            raise DataError(
                f"{source}: no {role} column among {names}. Say which it is, for example "
                f"{role}={names[0] if names else ''!r}."
            )
    return roles
