import numpy as np
import pytest

from rezoo.data import guesses, place, roles
from rezoo.data.interactions import from_columns
from rezoo.errors import DataError

EVERY = dict.fromkeys(roles.ALIASES)


def chosen(header, **given):
    found = roles.choose(header.split(","), {**EVERY, **given}, required=("user", "item"))
    return {role: one.column for role, one in found.items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "household_key,BASKET_ID,DAY,PRODUCT_ID,TRANS_TIME,WEEK_NO",
            "household_key,PRODUCT_ID,DAY,BASKET_ID",
        ),
        (
            "household_id,basket_id,product_id,week,transaction_timestamp",
            "household_id,product_id,transaction_timestamp,basket_id",
        ),
        ("customer-id,item-id,Order Date,Qty", "customer-id,item-id,Order Date,"),
        ("client,sku,t_dat", "client,sku,t_dat,"),
        (
            "Customer ID,Invoice,StockCode,InvoiceDate,Country",
            "Customer ID,StockCode,InvoiceDate,Invoice",
        ),
        ("rating,asin,parent_asin,user_id,timestamp", "user_id,parent_asin,timestamp,"),
        ("reviewerID,asin,reviewTime,unixReviewTime", "reviewerID,asin,unixReviewTime,"),
        ("review_id,user_id,business_id,stars,date", "user_id,business_id,date,"),
        ("visitorid,itemid,event,timestamp", "visitorid,itemid,timestamp,"),
        ("session,aid,ts,type", "session,aid,ts,session"),
        ("member,isbn,created.at", "member,isbn,created.at,"),
        ("用户ID,商品编号,时间,订单号", "用户ID,商品编号,时间,订单号"),
        (
            "Kunden-Nr.,Artikelnummer,Bestelldatum,Rechnungsnr",
            "Kunden-Nr.,Artikelnummer,Bestelldatum,Rechnungsnr",
        ),
        ("ID cliente,producto,fecha", "ID cliente,producto,fecha,"),
        ("Client n°,Référence produit,Date", "Client n°,Référence produit,Date,"),
    ],
)
def test_names_that_logs_have(header, expected):
    found = chosen(header)
    assert ",".join(found.get(role, "") for role in ("user", "item", "timestamp", "session")) == expected


def test_quantities_and_titles():
    found = chosen("user,item,Qty,description,Product Name")
    assert found["quantity"] == "Qty" and found["title"] == "Product Name"


@pytest.mark.parametrize(
    "number", ["basket_id", "BASKET_ID", "InvoiceNo", "order-id", "transaction_id", "Bon-Nr."]
)
def test_an_order_is_no_user_unless_it_is_said_to_be(number):
    with pytest.raises(DataError, match=rf"no user column .*{number}.* numbers orders or visits.*user="):
        chosen(f"{number},item,time")
    with pytest.raises(DataError, match="no user column"):
        from_columns({number: [1, 1, 2], "item": [1, 2, 1]})
    assert chosen(f"{number},item,time", user=number)["user"] == number
    log = from_columns({number: [1, 1, 2], "item": [1, 2, 1]}, session=number)
    assert log.user.tolist() == [1, 1, 2]


def test_a_visit_stands_for_a_user_that_is_not_there(caplog):
    log = from_columns({"SessionId": [7, 7, 8], "ItemId": [1, 2, 1]}, source="clicks.csv")
    assert log.user.tolist() == log.session.tolist() == [1, 1, 2]
    assert "clicks.csv" in caplog.text and "each session of 'SessionId' stands for one" in caplog.text


def test_each_role_has_a_reason():
    found = roles.choose(["who", "item"], {"user": "who", "item": None})
    assert found == {"user": roles.Role("who", "as given"), "item": roles.Role("item", "by its name")}


def test_two_of_a_kind_are_asked_for_and_given_ones_are_taken():
    with pytest.raises(DataError, match=r"both 'user_id' and 'uid' look like the user column.*user='uid'"):
        roles.choose({"user_id": [1], "uid": [2]}, {"user": None})
    assert chosen("user_id,uid,item", user="uid")["user"] == "uid"
    with pytest.raises(DataError, match="there is no column 'who'; there are"):
        chosen("user,item", user="who")


def test_a_session_with_empty_cells_is_only_taken_if_it_is_given():
    columns = {"visitorid": [1, 2], "itemid": [3, 4], "transactionid": np.array([np.nan, 5.0])}
    log = from_columns(columns)
    assert log.session is None and "transactionid" in log.extra
    assert "session" not in chosen("user,item,order_id,order_no")


SHOP = {
    "ref": np.array([f"c{n % 5}" for n in range(40)]),
    "bought": np.array([f"2021-03-{n % 28 + 1:02}" for n in range(40)]),
    "price": np.linspace(0.1, 9.9, 40),
    "thing": np.array([f"thing {n % 9}" for n in range(40)]),
}


def test_what_is_missing_is_suggested_by_content():
    with pytest.raises(DataError) as error:
        roles.choose(SHOP, {"user": None}, required=("user",), source="shop.csv")
    assert "shop.csv: no user column" in str(error.value) and "for example user='ref'" in str(error.value)
    assert "'bought': text, 28 distinct in 40 rows, such as '2021-03-01': a time?" in str(error.value)
    with pytest.raises(DataError, match="timestamp='bought'"):
        roles.choose(SHOP, {"timestamp": None}, required=("timestamp",))
    with pytest.raises(DataError, match="item='thing'"):
        roles.choose(SHOP, {"user": "ref", "item": None}, required=("user", "item"))


def test_the_files_row_numbers_are_no_column_of_anybodys():
    with pytest.raises(DataError) as error:
        from_columns({"colour": np.array(["red", "blue"]), place.ROW: np.array([2, 5])})
    assert place.ROW not in str(error.value)


def test_what_is_missing_is_suggested_by_name():
    table = {"colour": SHOP["thing"], "the_custmer": SHOP["ref"], "my_user_ref": SHOP["ref"]}
    assert guesses.best(table, "user", ["user", "customer"]) == "my_user_ref"
    del table["my_user_ref"]
    assert guesses.best(table, "user", ["user", "customer"]) == "the_custmer"


def test_weeks_and_prices_are_no_times_and_no_ids():
    assert not guesses.look(np.arange(1, 54)).is_time
    assert guesses.look(np.array([20210301, 20211231])).is_time
    assert guesses.look(np.array([1_600_000_000_000])).is_time
    assert not guesses.look(SHOP["price"]).is_id and guesses.look(np.array([1.0, np.nan, 2.0])).is_id


def test_a_column_is_not_two_things():
    with pytest.raises(DataError, match="the column 'a' is given as user and as item: it is one"):
        from_columns({"a": [1, 2], "b": [1, 2]}, user="a", item="a")
    log = from_columns({"visit": [1, 2], "b": [1, 2]}, user="visit", session="visit", item="b")
    assert log.session.tolist() == log.user.tolist() == [1, 2]
