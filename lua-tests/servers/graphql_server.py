"""A GraphQL server of strawberry: python graphql_server.py [PORT]. Prints the port at which it listens."""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator

import strawberry
import uvicorn
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"Hello, {name}!"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription
    async def fail(self) -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("the sensor is broken")

    @strawberry.subscription
    async def hang(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


schema = strawberry.Schema(query=Query, subscription=Subscription)
application = GraphQL(schema, subscription_protocols=["graphql-transport-ws"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(application, log_level="critical")).run(sockets=[listener])
