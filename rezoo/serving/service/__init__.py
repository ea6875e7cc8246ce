"""A saved model behind a shop, over HTTP (`pip install 'rezoo[serve]'`).

    python experiments/serve.py runs/shop --log events/events.sqlite --port 8000

Events come in and are kept in a log; each moves its visitor's session, and may be answered by a list. The
parts: `event_log` keeps events, `engine` has a model compiled for batches and the open sessions, `batching`
makes batches of requests, `shop` is the work on them, `fields` and `api` say what requests hold, `app` is the
application, `connections` closes slow clients, `workers` runs several services. Of the engine: `translate`
finds ids and features, `asks` makes arrays of questions, `programs` are the functions that are compiled,
`predictor` and `reasons` predict and say why. `catalogue` is the shop's table of items, of `columns`,
`offer` is that table in a model's ids, `variety` mixes lists. The rest is how to run it for a shop.

## Behind nginx

The service speaks HTTP/1.1 without TLS and lets everybody ask: it listens at 127.0.0.1, and a proxy in front
of it lets through what shoppers' requests need. Better still, the shop's own server asks, and shoppers do
not.

```nginx
upstream rezoo {
    server 127.0.0.1:8000;
    keepalive 64;
}
server {
    listen 443 ssl;
    server_name shop.example;
    ssl_certificate /etc/ssl/shop.pem;
    ssl_certificate_key /etc/ssl/shop.key;
    client_max_body_size 64k;
    client_header_timeout 10s;
    client_body_timeout 10s;
    location ~ ^/(events|recommend|predict|items)(/|$) {
        proxy_pass http://rezoo;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 1s;
        proxy_read_timeout 15s;
    }
    location / {
        return 404;
    }
}
```

`/metrics`, `/ready`, `/docs` and `/admin/reload` stay inside. Bodies over 64 KiB are refused (413), and so
are a head over 64 KiB and one that takes more than 10 seconds; an idle connection is kept for 75 seconds,
longer than nginx keeps it. `limit_req` and `limit_conn` of nginx are the place for limits by address.

## As a unit of systemd

```ini
[Unit]
Description=Recommendations
After=network.target

[Service]
User=rezoo
WorkingDirectory=/srv/rezoo
EnvironmentFile=/etc/rezoo.env
ExecStart=/srv/rezoo/.venv/bin/python experiments/serve.py models/now --log events/events.sqlite
Restart=always
RestartSec=1
TimeoutStopSec=20
LimitNOFILE=8192
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/srv/rezoo/events

[Install]
WantedBy=multi-user.target
```

`/etc/rezoo.env`, which root alone can read, has the line `REZOO_TOKEN=…`: the token of `POST /admin/reload`,
sent as `Authorization: Bearer …`. Without it nobody can reload; a new model is found without it, too.
SIGTERM lets requests under way be answered, for 10 seconds at most.

## As a container

```dockerfile
FROM python:3.12-slim
RUN pip install --no-cache-dir 'rezoo[serve,experiments]'
COPY experiments /srv/experiments
RUN useradd --create-home rezoo
USER rezoo
WORKDIR /srv
EXPOSE 8000
CMD ["python", "experiments/serve.py", "/models/now", "--log", "/events/events.sqlite", "--host", "0.0.0.0"]
```

Mount the models read-only at `/models`, the folder that the link is in and not the link, and a volume of one
container at `/events`; the log is on a local disk, as SQLite's files must not be on a network file system.
`/health` says that the process lives, `/ready` that it answers: a start takes some seconds to compile.

## Several processes

A log and its sessions have one owner. `--workers N` starts N services on N ports from `--port` on, with the
logs `events-0.sqlite`, `events-1.sqlite` …, starts again those that end, and prints nginx's lines that give
each visitor always the same one: by the header `X-Visitor`, which the shop sends with every request, or else
by `visitor` in the address. While a service is down nginx gives its visitors to another, where their
sessions begin again; events are kept either way. A key of an event is known to the log that has it alone.
Most shops need one process: N of them hold N models in memory, and share the cores.

## What to watch

| of `/metrics` | tells | alarm |
| --- | --- | --- |
| `rezoo_ready` | 1 if questions are answered | 0 for a minute |
| `rezoo_folder_refused` | 1 if the folder's newest content cannot be served; `/ready` says why | 1 |
| `rezoo_requests_total{status="507"}` | events that were not kept: the disk is full or broken | any |
| `rezoo_requests_total{status="503"}` | not ready, or more requests than are answered | above 1 % |
| `rezoo_requests_total{status="500"}` | an error of the service; its output has the traceback | any |
| `rezoo_request_seconds` | time until the answer | 99 % above 50 ms |
| `rezoo_waiting_requests` | of 1,024 that can wait | above 500 |
| `rezoo_open_sessions` | of `--slots` | above 90 % |
| `rezoo_events_without_session` | events that found all slots taken: lists without a past | rises |
| `rezoo_events_total` | events that were accepted | falls to 0 |
| `process_resident_memory_bytes`, `process_open_fds` | of the process, on Linux | above what was measured |

## How to size it

`experiments/bench_service.py` measures all of this on a machine of yours. A process takes about 400 MB; each
slot of `--slots` 4 bytes for each of `--length` events and each number of the model's state (GRU4Rec of 64
numbers, 50 events: half a kilobyte, so 46 MB for 100,000), and each product 1.3 kB with 64 numbers (130 MB
for 100,000). Slots are taken at visitors a second times `--idle` seconds. A list over 600 products takes 0.4
ms of one core, HTTP included; over 100,000 products most of it is the product of the states with the table.
Requests that come together are worked on together, so that peaks are cheaper than their number. A start
takes about 15 seconds of a core for a million events in the log.

## The log

With `--power-cuts`, which is the default, an event is on the disk before it is accepted, and survives a
power cut; with `--no-power-cuts` it survives a killed process, and a power cut may take the newest. What was
accepted is there once, by its key: a shop that got no answer sends the event again with the same key. Open
sessions are made again from the log at every start. If the disk is full, events are refused with 507, lists
go on, and events are accepted again when there is room. An event takes 100 to 200 bytes.

A backup while the service runs is SQLite's own: `sqlite3 events.sqlite ".backup copy.sqlite"`; the files
themselves can be copied when it does not run, `-wal` with the other. To begin a new log, stop the service,
move the files away and start it; sessions begin again.

## Another model

Save it beside the old one and let the link show to it, by a rename, which is one step:

    python experiments/your_log.py orders.csv --save models/monday
    ln -sfn monday models/next && mv -T models/next models/now

Within `--watch` seconds, or on `POST /admin/reload`, it is loaded and compiled and the open sessions are made
again for it, while the old one answers; then it takes over between two batches, and every answer says which
version made it. What cannot be served is refused, and the old one stays. Loading takes the memory of the new
model beside that of the old.

## What it does not do

It does not know who asks: whoever reaches it may ask for any visitor's list and send events for them. It has
no TLS. It keeps what visitors did, with their ids, until you delete it. It reads no file that a request
names, and no pickle.
"""
