// Reads the store's read-only port with ClickHouse's own client for Node, as its users would.
// usage: read.cjs NODE_MODULES, with URL, NAME, PASSWORD and QUERIES (a JSON list of statements) in the environment.
// stdout: one JSON object a statement, {columns, rows}; last {"refused": message} for an INSERT.
const path = require('node:path');
const { createClient } = require(path.join(process.argv[2], '@clickhouse/client'));

async function main() {
    const client = createClient({
        url: process.env.URL,
        username: process.env.NAME,
        password: process.env.PASSWORD,
        database: 'throughline',
        compression: { response: true },
    });
    for (const query of JSON.parse(process.env.QUERIES)) {
        const answer = await (await client.query({ query, format: 'JSONCompact' })).json();
        const columns = answer.meta.map((column) => [column.name, column.type]);
        // The same once more as a stream of rows.
        const stream = (await client.query({ query, format: 'JSONEachRow' })).stream();
        let streamed = 0;
        for await (const rows of stream) streamed += rows.length;
        if (streamed !== answer.data.length) throw new Error(`${streamed} rows streamed, ${answer.data.length} at once: ${query}`);
        console.log(JSON.stringify({ columns, rows: answer.data }));
    }
    const bound = await client.query({ query: 'SELECT {name: String} AS name', query_params: { name: "O'Brien\n" }, format: 'JSONEachRow' });
    const [{ name }] = await bound.json();
    if (name !== "O'Brien\n") throw new Error(`a parameter came back as ${JSON.stringify(name)}`);
    try {
        await client.insert({ table: 'rejects', values: [{ tenant: 'default' }], format: 'JSONEachRow' });
        throw new Error('an INSERT was let through');
    } catch (error) {
        console.log(JSON.stringify({ refused: String(error.message) }));
    }
    await client.close();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
