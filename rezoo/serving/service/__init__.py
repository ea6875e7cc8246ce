"""A saved model behind a shop, over HTTP (`pip install 'rezoo[serve]'`).

    python experiments/serve.py FOLDER

Events come in and are kept in a log; each moves its visitor's session, and may be answered by a list. The
parts: `event_log` keeps events, `engine` has a model compiled for batches and the open sessions, `batching`
makes batches of requests, `shop` is the work on them, `fields` and `api` say what requests hold, `app` is the
application. Of the engine: `translate` finds ids and features, `asks` makes arrays of questions, `programs`
are the functions that are compiled, `predictor` and `reasons` predict and say why. `catalogue` is the shop's
table of items, of `columns`, `offer` is that table in a model's ids, `variety` mixes lists.
"""
