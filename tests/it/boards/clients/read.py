"""Reads the store's read-only port with ClickHouse's own client for Python, as its users would.

usage: read.py, with URL, NAME, PASSWORD and QUERIES (a JSON list of statements) in the environment.
stdout: one JSON object a statement, {columns, rows}; last {"refused": message} for an INSERT.
"""

import json
import os
import urllib.parse

import clickhouse_connect

url = urllib.parse.urlsplit(os.environ["URL"])
client = clickhouse_connect.get_client(
    host=url.hostname,
    port=url.port,
    username=os.environ["NAME"],
    password=os.environ["PASSWORD"],
    database="throughline",
)
for query in json.loads(os.environ["QUERIES"]):
    # Native, which this client decodes itself.
    answer = client.query(query)
    columns = [[name, kind.name] for name, kind in zip(answer.column_names, answer.column_types)]
    print(json.dumps({"columns": columns, "rows": answer.result_rows}, default=str))
bound = client.query("SELECT {name: String} AS name", parameters={"name": "O'Brien\n"}).result_rows
assert bound == [("O'Brien\n",)], bound
try:
    # As a statement: an insert() is packed as the port does not read it, and would be refused for that alone.
    client.command("INSERT INTO rejects (tenant) VALUES ('default')")
except clickhouse_connect.driver.exceptions.DatabaseError as error:
    print(json.dumps({"refused": str(error)}))
else:
    raise SystemExit("an INSERT was let through")
