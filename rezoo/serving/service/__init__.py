"""A saved model behind a shop, over HTTP (`pip install 'rezoo[serve]'`).

    python experiments/serve.py FOLDER

Events come in and are kept in a log; each moves its visitor's session, and may be answered by a list. The
parts: `event_log` keeps events, `engine` has a model compiled for batches and the open sessions, `batching`
makes batches of requests, `shop` is the work on them, `fields` and `api` say what requests hold, `app` is the
application.
"""
