# ruff: noqa: E501 (rows of files stand as they are published)
"""Public data sets by their published layouts, each read by the one call that the README names."""

import contextlib
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from rezoo.data import files
from rezoo.datasets import criteo, mind
from rezoo.errors import DataError

README = Path(__file__).parents[2] / "README.md"

AMAZON_2018 = [
    {"overall": 5.0, "vote": "67", "verified": True, "reviewTime": "09 18, 1999", "reviewerID": "AAP7PPBU72QFM",
     "asin": "0151004714", "style": {"Format:": " Hardcover"}, "reviewerName": "D. C. Carrad",
     "reviewText": "This is the best, \"really\"", "summary": "A star", "unixReviewTime": 937612800},
    {"overall": 3.0, "verified": False, "reviewTime": "10 23, 2013", "reviewerID": "A2E168DTVGE6SV",
     "asin": "0151004714", "reviewText": "pages and pages", "summary": "ok", "unixReviewTime": 1382486400},
]  # fmt: skip
AMAZON_2023 = [
    {"rating": 5.0, "title": "Such a lovely scent", "text": "…", "images": [], "asin": "B00YQ6X8EO",
     "parent_asin": "B00YQ6X8EO", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "timestamp": 1588687728923,
     "helpful_vote": 0, "verified_purchase": True},
    {"rating": 4.0, "title": "Works", "text": "…", "images": [{"small_image_url": "x"}], "asin": "B081TJ8YS3",
     "parent_asin": "B081TJ8YS4", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "timestamp": 1588615855070,
     "helpful_vote": 1, "verified_purchase": True},
]  # fmt: skip
YELP = [
    {"review_id": "lWC-xP3rd6obsecCYsGZRg", "user_id": "ak0TdVmGKo4pwqdJSTLwWw", "business_id": "buF9druCkbuXLX526sGELQ",
     "stars": 4.0, "useful": 3, "funny": 1, "cool": 1, "text": "Apparently Prides, Osteria\nhad a rough", "date": "2014-10-11 03:34:02"},
    {"review_id": "8bFej1QE5LXp4O05qjGqXA", "user_id": "YoVfDbnISlW0f7abNQACIg", "business_id": "RA4V8pr014UyUbDvI-LW2A",
     "stars": 4.0, "useful": 1, "funny": 0, "cool": 0, "text": "This store", "date": "2015-07-03 20:38:25"},
]  # fmt: skip
STEAM = """{u'username': u'Chaos Syren', u'hours': 0.1, u'products': 41, u'product_id': u'725280', u'page_order': 0, u'date': u'2017-12-17', u'text': u'This would not be acceptable, "ok"', u'early_access': False, u'page': 1}
{u'username': u"Ariman1", u'hours': 13.2, u'products': 1386, u'product_id': u'328100', u'page_order': 1, u'date': u'2017-08-02', u'text': u'It\\u2019s good', u'early_access': False, u'page': 1}
"""
OWNED = """{'user_id': '76561197970982479', 'items_count': 2, 'items': [{'item_id': '10', 'item_name': "Counter-Strike", 'playtime_forever': 6}, {'item_id': '20', 'item_name': 'Team Fortress', 'playtime_forever': 0}]}
{'user_id': 'js41637', 'items_count': 0, 'items': []}
{'user_id': 'evcentric', 'items_count': 1, 'items': [{'item_id': '10', 'item_name': 'Counter-Strike', 'playtime_forever': 44}]}
"""
OTTO = [
    {"session": 12899779, "events": [{"aid": 59625, "ts": 1661724000278, "type": "clicks"},
                                     {"aid": 1142000, "ts": 1661724058352, "type": "carts"}]},
    {"session": 12899780, "events": [{"aid": 59625, "ts": 1661724000378, "type": "clicks"}]},
]  # fmt: skip
LASTFM = (
    "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71-bd35-4e99-8624-24a6e15f133a\tDeep Dish\t\tFuck Me Im Famous\n"
    'user_000001\t2009-05-04T13:54:10Z\t\t"Weird" Al\t\tComposition 0919 (Live_2009_4_15)\n'
    'user_000002\t2009-05-04T13:52:04Z\ta7f7df4a-77d8-4f12-8acd-5c60c93f4de8\t坂本龍一\t\t"Mc2 (Live_2009_4_15)\n'
)
CRITEO = "0\t1\t1\t5\t0\t1382\t4\t15\t2\t181\t1\t2\t\t2\t" + "\t".join(f"{n:08x}" for n in range(26)) + "\n"

LAYOUTS = {  # file, content, users, items, ratings, seconds of the first row
    "MovieLens 25M": ("ratings.csv", "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n", [1, 1], [296, 306], [5, 3.5], 1147880044),
    "Amazon reviews 2018": ("Books_5.json.gz", AMAZON_2018,
                            ["AAP7PPBU72QFM", "A2E168DTVGE6SV"], ["0151004714"] * 2, [5, 3], 937612800),
    "Amazon ratings 2018": ("Books.csv", "0001713353,A1C6M8LCIX4M6M,5.0,1123804800\n",
                            ["A1C6M8LCIX4M6M"], ["0001713353"], [5], 1123804800),
    "Amazon reviews 2023": ("All_Beauty.jsonl.gz", AMAZON_2023,
                            ["AGKHLEW2SOWHNMFQIJGBECAF7INQ"] * 2, ["B00YQ6X8EO", "B081TJ8YS4"], [5, 4], 1588687728.923),
    "Yelp": ("yelp_academic_dataset_review.json", YELP,
             ["ak0TdVmGKo4pwqdJSTLwWw", "YoVfDbnISlW0f7abNQACIg"],
             ["buF9druCkbuXLX526sGELQ", "RA4V8pr014UyUbDvI-LW2A"], [4, 4], 1412998442),
    "Steam reviews": ("steam_reviews.json.gz", STEAM,
                      ["Chaos Syren", "Ariman1"], ["725280", "328100"], None, 1513468800),
    "Steam's owners": ("australian_users_items.json.gz", OWNED,
                       ["76561197970982479"] * 2 + ["evcentric"], ["10", "20", "10"], None, None),
    "YooChoose": ("yoochoose-clicks.dat", "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n",
                  [1, 1], [214536502, 214536500], None, 1396867869.277),
    "Retailrocket": ("events.csv", "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
                     "1433222276276,599528,transaction,356475,4000\n",
                     [257597, 599528], [355908, 356475], None, 1433221332.117),
    "Taobao UserBehavior": ("UserBehavior.csv", "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n",
                            [1, 1], [2268318, 2333346], None, 1511544070),
    "Last.fm 1K": ("userid-timestamp-artid-artname-traid-traname.tsv", LASTFM,
                   ["user_000001", "user_000001", "user_000002"], ["Deep Dish", '"Weird" Al', "坂本龍一"], None, 1241478537),
    "Instacart": ("order_products__prior.csv", "order_id,product_id,add_to_cart_order,reordered\n2,33120,1,1\n2,28985,2,1\n", [2, 2], [33120, 28985], None, None),
    "H&M": ("transactions_train.csv", "t_dat,customer_id,article_id,price,sales_channel_id\n"
            "2018-09-20,000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318,0663713001,0.0508305084745762,2\n", ["000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318"], ["0663713001"], None, 1537401600),
    "OTTO": ("otto-recsys-train.jsonl", OTTO,
             [12899779, 12899779, 12899780], [59625, 1142000, 59625], None, 1661724000.278),
    "dunnhumby": ("transaction_data.csv", "household_key,BASKET_ID,DAY,PRODUCT_ID,QUANTITY,SALES_VALUE,STORE_ID,RETAIL_DISC,"
                  "TRANS_TIME,WEEK_NO,COUPON_DISC,COUPON_MATCH_DISC\n2375,26984851472,1,1004906,1,1.39,364,-0.6,1631,1,0,0\n", [2375], [1004906], None, None),
    "Online Retail": ("online_retail.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
                      '536365,85123A,"WHITE, HEART",6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n'
                      "536366,22423,CAKESTAND £,1,2010-12-01 08:28:00,12.75,17850,United Kingdom\n".encode("latin-1"), [17850, 17850], ["85123A", "22423"], None, 1291191960),
}  # fmt: skip


CALLS = dict(
    re.findall(r"^\| ([^|]+) \| `((?:files|mind|criteo)\.read\(.*\))` \|$", README.read_text("utf-8"), re.M)
)
"""The calls of the README's table."""


def call(folder, name, file, content):
    """What the README's call gives for a file that is written first."""
    content = (
        content if isinstance(content, str | bytes) else "".join(json.dumps(row) + "\n" for row in content)
    )
    content = content.encode() if isinstance(content, str) else content
    (folder / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)
    with contextlib.chdir(folder):
        return eval(CALLS[name], {"files": files, "mind": mind, "criteo": criteo})


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_set_is_read_by_the_call_of_the_readme(tmp_path, name):
    file, content, users, items, ratings, first = LAYOUTS[name]
    log = call(tmp_path, name, file, content)
    assert log.users.decode(log.user).tolist() == users
    assert log.items.decode(log.item).tolist() == items
    assert (log.rating is None) == (ratings is None) and (ratings is None or log.rating.tolist() == ratings)
    assert first is None or log.timestamp[0] == round(first * 1_000_000)


def test_every_call_of_the_readme_is_tried():
    assert CALLS.keys() == {*LAYOUTS, "MIND", "Criteo"}


def test_mind(tmp_path):
    rows = "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0\n2\tU91836\t11/12/2019 6:11:30 PM\t\tN20678-0\n"
    log = call(tmp_path, "MIND", "behaviors.tsv", rows)
    assert log.items.decode(log.item).tolist() == ["N55689", "N35729", "N20678"]
    assert log.rating.tolist() == [1, 0, 0] and log.session.tolist() == [1, 1, 2]
    assert log.extra["history"].tolist() == ["N55189 N42782"] * 2 + [""]
    assert log.timestamp[[0, 2]].tolist() == [1573463158_000000, 1573582290_000000]
    test = call(tmp_path, "MIND", "behaviors.tsv", rows.replace("-1", "").replace("-0", ""))
    assert test.rating is None and test.items.raw[0] == "N55689"
    with pytest.raises(DataError, match="'N35729' has no -1 or -0"):
        call(tmp_path, "MIND", "behaviors.tsv", rows.replace("N35729-0", "N35729"))


def test_criteo(tmp_path):
    clicks = call(tmp_path, "Criteo", "train.txt", CRITEO)
    assert clicks.label.tolist() == [0] and np.isnan(clicks.columns["I12"][0])
