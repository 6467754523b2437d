"""A target that imports nothing, to see how long a process takes to start."""

from multiprocessing.connection import Connection


def greet(connection: Connection) -> None:
    connection.send("here")
