"""The outside world of the documents in examples/: shops, suppliers, approvers and the like, over real HTTP on loopback.

The tests of the examples run them against it, one world a run. By hand, for whoever tries an example out:

    .venv/bin/python -m tests.servers.world         # at http://localhost:8080, gRPC at localhost:50051, until Ctrl-C

What it answers depends on the requests before, never on a clock or on chance. It counts what it makes by kind ("flight-1"),
so that outputs can be compared exactly.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.servers.greeter import greeter_server

PORT = 8080
GREETER_PORT = 50051
USER = "ada"
CLIENT = "examples"
PETS = {7: {"id": 7, "name": "Milou", "kind": "dog"}, 8: {"id": 8, "name": "Tim", "kind": "cat"}}
STOCK = {"lamp": 12, "desk": 3, "chair": 0}
QUOTES = {"north": 120, "south": 95}
SALES = {
    "2026-11-20": [
        {"shop": "Rome", "amount": 120},
        {"shop": "Oslo", "amount": 80},
        {"shop": "Rome", "amount": 30},
        {"shop": "Lima", "amount": -5},
    ]
}
CUSTOMERS = {"c-1": {"name": "Ada Lovelace", "city": "London", "company": "Analytical Engines"}}
RATINGS = {"Analytical Engines": {"rating": "A", "limit": 50_000}}
PLACES = {"London": {"country": "GB", "zone": "Europe/London"}}

Request = web.Request
Response = web.StreamResponse


@dataclass
class World:
    """What has happened so far. `password` is the one of USER, `token` what bearers show, `secret` that of CLIENT."""

    password: str = "open"
    token: str = "sesame"
    secret: str = "simsim"
    url: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    bookings: dict[str, str] = field(default_factory=dict)
    """Of flights, hotels and cars: booked or cancelled."""
    letters: list[Any] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """One more of a kind."""
        self.counts[kind] += 1
        return self.counts[kind]

    # Pets, for the calls.

    async def pet(self, request: Request) -> Response:
        """One pet."""
        found = PETS.get(int(request.match_info["id"]))
        return _problem(404, "there is no such pet") if found is None else web.json_response(found)

    async def meal(self, request: Request) -> Response:
        """An order of food for a pet."""
        return web.json_response({"meal": self.count("meal"), "for": (await request.json())["for"]}, status=201)

    async def openapi(self, _request: Request) -> Response:
        """The description of the two above."""
        return web.json_response(OPENAPI)

    async def flaky(self, request: Request) -> Response:
        """Fails as often as the query says, for each name, then answers."""
        tries = self.count(f"flaky {request.match_info['name']}")
        if tries <= int(request.query["failures"]):
            return _problem(503, "not now")
        return web.json_response({"tries": tries})

    async def function(self, request: Request) -> Response:
        """The definition of a function, as a catalog would have it."""
        if (request.match_info["name"], request.match_info["version"]) != ("shout", "1.0.0"):
            return _problem(404, "there is no such function")
        return web.Response(text=FUNCTION, content_type="application/yaml")

    # Who is asked for credentials.

    async def profile(self, request: Request) -> Response:
        """Whoever proves in one of three ways who they are."""
        way = request.match_info["way"]
        given = request.headers.get("Authorization", "")
        basic = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        wanted = {"basic": f"Basic {basic}", "bearer": f"Bearer {self.token}", "oauth2": f"Bearer access-{self.token}"}[way]
        return web.json_response({"by": way}) if given == wanted else _problem(401, "who are you?")

    async def access_token(self, request: Request) -> Response:
        """The token endpoint: the grant of client credentials."""
        form = await request.post()
        expected = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": self.secret}
        if not expected.items() <= dict(form).items():
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": f"access-{self.token}", "token_type": "Bearer", "expires_in": 3600})

    # People.

    async def approval(self, _request: Request) -> Response:
        """Asks somebody to approve; the answer comes as an event."""
        return web.json_response({"id": f"approval-{self.count('approval')}"}, status=201)

    async def message(self, request: Request) -> Response:
        """Tells somebody something."""
        self.messages.append(await request.json())
        return web.json_response({"message": len(self.messages)}, status=202)

    # Trade.

    async def quote(self, request: Request) -> Response:
        """The price of so many; the supplier in the west is always closed."""
        supplier = request.match_info["supplier"]
        if supplier not in QUOTES:
            return _problem(503, "closed")
        return web.json_response({"supplier": supplier, "price": QUOTES[supplier] * int(request.query["count"])})

    async def stock(self, request: Request) -> Response:
        """How many there are."""
        return web.json_response({"available": STOCK.get(request.match_info["item"], 0)})

    async def payment(self, request: Request) -> Response:
        """The first try of each order finds nobody; some cards are declined."""
        body = await request.json()
        if self.count(f"try {body['order']}") == 1:
            return _problem(503, "busy")
        if body["card"].startswith("0000"):
            return _problem(402, "declined")
        return web.json_response({"payment": f"payment-{self.count('payment')}"}, status=201)

    async def shipment(self, _request: Request) -> Response:
        """Sends a parcel."""
        return web.json_response({"parcel": f"parcel-{self.count('parcel')}"}, status=201)

    async def invoice(self, request: Request) -> Response:
        """An invoice without an amount is refused for good; one that is a multiple of 30 finds nobody at first."""
        body = await request.json()
        if "amount" not in body:
            return _problem(422, "an amount is needed")
        if body["amount"] % 30 == 0 and self.count(f"try {body['id']}") < 3:
            return _problem(503, "busy")
        return web.json_response({"number": self.count("invoice")}, status=201)

    async def dead_letter(self, request: Request) -> Response:
        """Keeps what nobody can work with."""
        self.letters.append(await request.json())
        return web.json_response({"letter": len(self.letters)}, status=201)

    # Travel.

    async def book(self, request: Request) -> Response:
        """A flight, a hotel or a car; there are no cars in Venice."""
        kind, body = request.match_info["kind"], await request.json()
        if kind == "car" and body["city"] == "Venice":
            return _problem(409, "there are no cars")
        booking = f"{kind}-{self.count(kind)}"
        self.bookings[booking] = "booked"
        return web.json_response({"booking": booking}, status=201)

    async def cancel(self, request: Request) -> Response:
        """Takes a booking back."""
        booking = request.match_info["booking"]
        if booking not in self.bookings:
            return _problem(404, "there is no such booking")
        self.bookings[booking] = "cancelled"
        return web.Response(status=204)

    async def all_bookings(self, _request: Request) -> Response:
        """How they stand."""
        return web.json_response(self.bookings)

    # Data.

    async def begin_report(self, request: Request) -> Response:
        """Takes an order for a report, which takes a while."""
        kind = (await request.json())["kind"]
        return web.json_response({"id": f"{kind}-{self.count('report')}"}, status=202)

    async def report(self, request: Request) -> Response:
        """How a report stands: it is done when it is asked after for the third time. Some fail."""
        name = request.match_info["id"]
        if self.count(f"looks at {name}") < 3:
            return web.json_response({"status": "running"})
        if name.startswith("broken"):
            return web.json_response({"status": "failed"})
        return web.json_response({"status": "done", "pages": 12})

    async def sales(self, request: Request) -> Response:
        """What was sold on a day."""
        return web.json_response(SALES.get(request.query["day"], []))

    async def summary(self, request: Request) -> Response:
        """Takes a day's summary."""
        return web.json_response({"stored": (await request.json())["day"]}, status=201)

    async def look_up(self, request: Request) -> Response:
        """Customers, ratings and places by their key."""
        table: Any = {"customers": CUSTOMERS, "ratings": RATINGS, "places": PLACES}[request.match_info["table"]]
        found = table.get(request.match_info["key"])
        return _problem(404, "not known") if found is None else web.json_response(found)

    async def log(self, _request: Request) -> Response:
        """An access log."""
        return web.Response(text="".join(f"{status} /{path}\n" for status, path in LOG))


LOG = [(200, "a"), (500, "b"), (200, "a"), (404, "c"), (500, "b"), (200, "d")]

FUNCTION = """\
input:
  schema:
    document: {type: object, required: [text]}
set: '${ .text | ascii_upcase + "!" }'
"""

OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1.0.0"},
    "servers": [{"url": "/"}],
    "paths": {
        "/pets/{id}": {
            "get": {
                "operationId": "getPet",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "responses": {"200": {"description": "the pet"}},
            }
        },
        "/pets/{id}/meals": {
            "post": {
                "operationId": "orderMeal",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"for": {"type": "string"}, "amount": {"type": "integer"}},
                            }
                        }
                    }
                },
                "responses": {"201": {"description": "the meal"}},
            }
        },
    },
}


def _problem(status: int, title: str) -> web.Response:
    body = json.dumps({"title": title, "status": status})
    return web.Response(status=status, text=body, content_type="application/problem+json")


def application(world: World) -> web.Application:
    """Its paths."""
    app = web.Application()
    app.add_routes(
        [
            web.get(r"/pets/{id:\d+}", world.pet),
            web.post(r"/pets/{id:\d+}/meals", world.meal),
            web.get("/openapi.json", world.openapi),
            web.get("/flaky/{name}", world.flaky),
            web.get("/catalog/functions/{name}/{version}/function.yaml", world.function),
            web.get("/profile/{way:basic|bearer|oauth2}", world.profile),
            web.post("/oauth2/token", world.access_token),
            web.post("/approvals", world.approval),
            web.post("/messages", world.message),
            web.get("/suppliers/{supplier}/quote", world.quote),
            web.get("/stock/{item}", world.stock),
            web.post("/payments", world.payment),
            web.post("/shipments", world.shipment),
            web.post("/invoices", world.invoice),
            web.post("/dead-letters", world.dead_letter),
            web.post("/bookings/{kind:flight|hotel|car}", world.book),
            web.delete("/bookings/{booking}", world.cancel),
            web.get("/bookings", world.all_bookings),
            web.post("/reports", world.begin_report),
            web.get("/reports/{id}", world.report),
            web.get("/sales", world.sales),
            web.post("/summaries", world.summary),
            web.get("/{table:customers|ratings|places}/{key}", world.look_up),
            web.get("/log", world.log),
        ]
    )
    return app


@contextlib.asynccontextmanager
async def world_server(world: World, port: int = 0) -> AsyncIterator[World]:
    """Serve a world on 127.0.0.1; port 0 takes a free one."""
    runner = web.AppRunner(application(world), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        world.url = f"http://localhost:{runner.addresses[0][1]}"
        yield world
    finally:
        await runner.cleanup()


async def _main() -> None:
    async with world_server(World(), PORT) as world, greeter_server(port=GREETER_PORT) as greeter:
        print(f"the outside world of the examples is at {world.url}, gRPC at localhost:{greeter.port}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
