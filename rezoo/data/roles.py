"""Which column of a table plays which role, by the names that logs commonly have.

chosen = roles.choose(columns, {"user": None, "item": None, "timestamp": "when"}, required=("user", "item"))
chosen["user"].column, chosen["user"].why
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rezoo.data import guesses
from rezoo.data.place import ROW
from rezoo.errors import DataError

ALIASES: dict[str, tuple[str, ...]] = {
    "user": (
        "user customer reviewer member shopper client visitor household account buyer person consumer "
        "subscriber uid cust kunde kunden nutzer benutzer mitglied utilisateur usuario cliente "
        "用户 顾客 客户 会员 买家 ユーザー 顧客",
        "visitorcookie cookie card loyaltycard",
    ),
    "item": (
        "item product article movie book song track artist app game business venue hotel recipe news video "
        "goods sku stockcode parentasin isbn iid aid artikel produkt produit producto articulo prodotto "
        "商品 产品 物品 电影 アイテム",
        "asin",
        "ean gtin upc barcode",
    ),
    "rating": ("rating userrating starrating stars score overall bewertung valoracion 评分", "weight"),
    "timestamp": (
        "timestamp ts datetime unixtime unixreviewtime zeitstempel zeitpunkt horodatage 时间戳 "
        "{event}timestamp {event}datetime {event}ts {event}dt {event}at",
        "time date {event}time {event}date {event}day tdat zeit datum bestelldatum rechnungsdatum kaufdatum "
        "fecha fechahora 时间 日期 下单时间 订单时间 交易时间 购买时间 日時",
        "day reviewtime 日",
    ),
    "session": (
        "session visit 会话 セッション",
        "basket cart warenkorb panier cesta 购物车",
        "order bestellung bestell auftrag commande pedido 订单",
        "transaction transaktion 交易",
        "invoice receipt ticket bill rechnung rechnungs beleg bon facture factura 发票",
    ),
    "quantity": ("quantity", "qty", "units", "menge", "anzahl", "quantite", "cantidad", "数量"),
    "title": (
        "title producttitle itemtitle",
        "productname itemname moviename articlename 商品名称 产品名称 商品名",
        "name bezeichnung artikelname nombre nom 名称",
        "description productdescription itemdescription beschreibung designation libelle descripcion",
    ),
}
"""By role the names by which a column is recognised, as `plain` gives them; the earlier ones come first."""

EVENTS = re.findall(r"\w+", "transaction order invoice purchase event click visit sale view created played t")
"""What may stand before the time of something."""
ID = re.compile(
    r"^(id|numero|reference|ref|code)(?=\w{3})|(id|no|nr|nummer|num|number|key|code|hash|编号|号|编码)$"
)
"""What may stand around the name of a user, an item or a session."""
VISITS = frozenset(ALIASES["session"][0].split())
"""Sessions that may stand for their users: an order's or a basket's number is another one at each visit."""


class Role(NamedTuple):
    """What was chosen for a role."""

    column: str
    """Its name in the table."""
    why: str
    """The reason, in words."""


def plain(name: str) -> str:
    """A name without case, accents, blanks and punctuation.

    >>> plain("Référence-Client_ID")
    'referenceclientid'
    """
    letters = unicodedata.normalize("NFKD", name.casefold().replace("°", "o"))
    kept = "".join(letter for letter in letters if letter.isalnum())
    return unicodedata.normalize("NFC", kept)


_TIERS = {
    role: [
        {plain(one) for name in tier.split() for one in {name.format(event=event) for event in EVENTS}}
        for tier in tiers
    ]
    for role, tiers in ALIASES.items()
}


def recognised(name: str, role: str) -> int | None:
    """How early among the names of a role a column's name stands, from 0; None if it does not.

    >>> recognised("user_id", "user") is None, recognised("price", "user") is None
    (False, True)
    """
    bare = plain(name)
    stem = ID.sub("", bare) if role in ("user", "item", "session") else bare
    tiers = _TIERS[role]
    return next((tier for tier, names in enumerate(tiers) if bare in names or stem in names), None)


def choose(
    columns: Mapping[str, Any] | Iterable[str],
    given: Mapping[str, str | None],
    *,
    required: Iterable[str] = (),
    source: str = "table",
) -> dict[str, Role]:
    """The columns that play the roles of `given`; a role that none plays is not in the result.

    A session that could be one of two columns, or has empty cells, is taken only if it is given, and so is a
    title that could be one of two columns. Where a
    session is looked for, too, a visit (not an order) stands for the user that a table does not have.

    Args:
      columns: the table, or its columns' names; what is in it makes the hints of errors better.
      given: for each role that is looked for the name of its column, or None to recognise it.
      required: roles that there must be.
      source: what errors call the table, such as the file's name.

    Raises:
      DataError: if a given or required column is not there, one is given for two roles (but for a session
        that is a user, too), or two columns look like one role.

    >>> choose(["Customer ID", "sku", "Order Date"], {"user": None, "item": None, "rating": None})["user"]
    Role(column='Customer ID', why='by its name')
    """
    roles: dict[str, Role] = {}
    named = columns if isinstance(columns, Mapping) else dict.fromkeys(columns)
    table = {name: column for name, column in named.items() if name != ROW}
    for role, name in given.items():
        if name is not None and name not in table:
            raise DataError(f"{source}: there is no column {name!r}; there are {list(table)}")
        if name is not None:
            other = next((other for other, one in roles.items() if one.column == name), None)
            if other is not None and {role, other} != {"user", "session"}:
                raise DataError(f"{source}: the column {name!r} is given as {other} and as {role}: it is one")
            roles[role] = Role(name, "as given")
    for role in (role for role, name in given.items() if name is None):
        free = [name for name in table if name not in {one.column for one in roles.values()}]
        places = {name: place for name in free if (place := recognised(name, role)) is not None}
        found = [name for name in places if places[name] == min(places.values())]
        if role == "session" and (len(found) > 1 or any(guesses.has_empty(table[name]) for name in found)):
            continue
        if role == "title" and len(found) > 1:
            continue
        if len(found) > 1:
            raise DataError(
                f"{source}: both {found[0]!r} and {found[1]!r} look like the {role} column. Say which it is: "
                f"{role}={found[1]!r}.{guesses.listing({name: table[name] for name in found})}"
            )
        if found:
            roles[role] = Role(found[0], "by its name")
    _sessions_for_users(roles, given)
    for role in required:
        if role not in roles:
            _missing(role, table, roles, source)
    return roles


def _sessions_for_users(roles: dict[str, Role], given: Mapping[str, str | None]) -> None:
    session = roles.get("session")
    if session is None or "user" in roles or "user" not in given:
        return
    if given["session"] is not None or ID.sub("", plain(session.column)) in VISITS:
        roles["user"] = Role(
            session.column, f"no column is a user's, so each session of {session.column!r} stands for one"
        )


def _missing(role: str, table: Mapping[str, Any], roles: Mapping[str, Role], source: str) -> None:
    taken = {one.column for one in roles.values()}
    free = [name for name in table if name not in taken]
    unknown = [name for name in free if all(recognised(name, other) is None for other in ALIASES)]
    words = " ".join(ALIASES[role]).split()
    likely = guesses.best({name: table[name] for name in unknown or free}, role, words)
    visits = next((name for name in table if recognised(name, "session") is not None), None)
    hint = f"for example {role}={likely!r}" if likely else f"{role}=…"
    if role == "user" and visits is not None:
        hint += f" ({visits!r} numbers orders or visits; if each of them is to be one, {role}={visits!r})"
    raise DataError(
        f"{source}: no {role} column among {list(table)}. Say which it is, {hint}.{guesses.listing(table)}"
    )
