"""The shop's table of items: what can be bought, which items pass a filter, and what is refused."""

import numpy as np
import pytest

from rezoo.errors import DataError
from rezoo.serving.service.catalogue import Catalogue
from rezoo.serving.service.columns import column

CSV = """sku,title,category,price,tags,organic,stock
007,green tea,tea,4.5,hot|green,yes,3
8,black tea,tea,3,hot,no,0
a9,espresso,coffee,12,hot|strong,no,1
10,cup,,8,,,2
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "items.csv"
    file.write_text(CSV)
    return Catalogue.read(file)


def passing(table, **filters):
    return [table.items.raw[row] for row in np.flatnonzero(table.passing(filters))]


def test_ids_are_as_they_are_written_and_what_has_no_stock_is_not_available(table):
    assert table.items.raw.tolist() == ["007", "8", "a9", "10"]
    assert table.items.names.tolist() == ["green tea", "black tea", "espresso", "cup"]
    assert table.available.tolist() == [True, False, True, True]
    assert table.row(0) == {
        "item": "007",
        "name": "green tea",
        "about": {"category": "tea", "price": 4.5, "tags": ["hot", "green"], "organic": "yes", "stock": 3.0},
    }
    assert table.about(3) == {"price": 8.0, "stock": 2.0}


def test_what_passes_fulfils_every_condition_and_is_available(table):
    assert passing(table) == ["007", "a9", "10"]
    assert passing(table, category="tea") == ["007"]
    assert passing(table, category=["tea", "coffee"], price={"max": 4.5}) == ["007"]
    assert passing(table, price={"min": 8}) == ["a9", "10"]
    assert passing(table, price={"min": 5, "max": 10}) == ["10"]
    assert passing(table, price=[12, 4.5]) == ["007", "a9"]
    assert passing(table, tags="hot") == ["007", "a9"] and passing(table, tags=["green", "?"]) == ["007"]
    assert passing(table, category="none") == [] == passing(table, category=[])
    assert column([True, False, True]).passing(True).tolist() == [True, False, True]
    assert column([10, 20]).passing([20]).tolist() == [False, True]


def test_conditions_of_an_address(table):
    texts = {"category": "tea,coffee", "price": "..12", "tags": "strong"}
    assert table.from_texts(texts) == {
        "category": ["tea", "coffee"],
        "price": {"max": 12.0},
        "tags": ["strong"],
    }
    assert passing(table, **table.from_texts(texts)) == ["a9"]
    assert table.from_texts({"price": "3,4.5"}) == {"price": [3.0, 4.5]}
    assert table.from_texts({"price": "3..5"}) == {"price": {"min": 3.0, "max": 5.0}}


def test_a_page_of_items(table):
    first = table.page({}, limit=2)
    assert [one["item"] for one in first["items"]] == ["007", "a9"] and first["total"] == 3
    assert [one["item"] for one in table.page({}, start=2, limit=2)["items"]] == ["10"]
    some = table.page({}, ids=["8", "?", "007"])
    assert [one["item"] for one in some["items"]] == ["8", "007"] and some["unknown"] == ["?"]
    assert first["columns"]["category"] == {"kind": "text", "values": ["coffee", "tea"], "distinct": 2}
    assert first["columns"]["price"] == {"kind": "number", "min": 3.0, "max": 12.0}
    assert first["columns"]["tags"]["kind"] == "texts"


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": "red"}, "column 'colour': it is not there; there are category, price"),
        ({"category": 3}, "'category'.*give a text or a list of texts"),
        ({"category": {"min": 1}}, "'category'.*give a text"),
        ({"price": "cheap"}, "'price'.*give a number, a list"),
        ({"price": True}, "'price'"),
        ({"price": {"below": 3}}, "'price'"),
        ({"price": {}}, "'price'"),
        ({"price": {"min": "3"}}, "'price'"),
        ({"price": 10**400}, "'price'"),
    ],
)
def test_what_is_no_condition_is_refused(table, filters, message):
    with pytest.raises(DataError, match=message):
        table.passing(filters)
    with pytest.raises(DataError, match="'price'"):
        table.from_texts({"price": "a..b"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"title": ["a"]}, "no item column"),
        ({"item": ["a", "a"]}, "item a is there 2 times"),
        ({"item": ["a", ""]}, "row 2 has no item id"),
        ({"item": ["a"], "available": ["perhaps"]}, "'available': 'perhaps' does not say"),
    ],
)
def test_tables_that_cannot_be_read(columns, message):
    with pytest.raises(DataError, match=message):
        Catalogue.read(columns)


def test_how_columns_say_what_is_available():
    def available(**columns):
        return Catalogue.read({"item": [1, 2, 3], **columns}).available.tolist()

    assert available(in_stock=[True, False, True]) == [True, False, True]
    assert available(stock=[5, 0, None]) == [True, False, False]
    assert available(Availability=["in stock", "out of stock", ""]) == [True, False, False]
    assert available(stock=[1, 1, 0], available=["yes", "no", "yes"]) == [True, False, False]
    assert available(price=[0, 0, 0]) == [True, True, True]


def test_an_item_is_there_once_however_it_is_spelt():
    with pytest.raises(DataError, match="item 7 is there 2 times: give one row for each"):
        Catalogue.read({"item": ["7", "7.0", "x"]})


def test_filters_of_whole_numbers_are_exact():
    codes = [2**53, 2**53 + 1]
    table = Catalogue.read({"item": ["a", "b"], "code": codes})
    assert passing(table, code=codes[1]) == ["b"]
    assert passing(table, code={"min": codes[1]}) == ["b"] and passing(table, code={"max": codes[0]}) == ["a"]
    assert passing(table, **table.from_texts({"code": str(codes[1])})) == ["b"]


def test_items_of_ids_pass_the_filters_too(table):
    found = table.page({"category": "tea"}, ["8", "a9", "007", "?"])
    assert [one["item"] for one in found["items"]] == ["8", "007"] and found["unknown"] == ["?"]
