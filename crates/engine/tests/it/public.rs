//! The read-only port: it reads the engine's tables and nothing else.

use crate::support::shared;

#[test]
fn it_reads_tables_within_bounds() {
    let engine = shared();
    engine.value("CREATE TABLE readable (a UInt8, `a/b` String) ENGINE = MergeTree ORDER BY a");
    engine.value("INSERT INTO readable VALUES (1, '/etc/passwd'), (2, 'file(1)')");
    for (sql, expected) in [
        ("SELECT count() FROM readable WHERE `a/b` IS NOT NULL OR 1", ""),
        ("SELECT count() FROM readable WHERE `readable`.a IN (1, 2)", "2\n"),
        (
            "SELECT a FROM readable WHERE position('/etc/passwd file( url(', '/') > 0 ORDER BY a FORMAT CSV",
            "1\n2\n",
        ),
        ("WITH x AS (SELECT max(a) AS m FROM readable) SELECT m FROM x", "2\n"),
        ("SELECT sum(number) FROM numbers(10)", "45\n"),
        ("SHOW TABLES LIKE 'readable'", "readable\n"),
        ("SELECT getSetting('readonly'), getSetting('max_execution_time')", "1\t60\n"),
    ] {
        let answer = engine.ask_public("", sql);
        if expected.is_empty() {
            assert_eq!(answer.status, 403, "a slash in a name may be a file's: {sql}: {}", answer.text());
        } else {
            assert_eq!(answer.text(), expected, "{sql}");
        }
    }
    let bounded = engine.ask_public(
        "max_execution_time=0&max_memory_usage=0&readonly=0",
        "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage'), getSetting('readonly')",
    );
    assert_eq!(bounded.text(), "60\t536870912\t1\n");
    assert_eq!(
        engine.ask_public("max_execution_time=7", "SELECT getSetting('max_execution_time')").text(),
        "7\n"
    );
    let whole = "SELECT getSetting('max_result_bytes') AS most FORMAT JSONColumns";
    for query in ["", "max_result_bytes=0"] {
        assert_eq!(engine.ask_public(query, whole).text().matches("268435456").count(), 1, "{query}");
    }
    assert_eq!(engine.ask_public("param_x=a", "SELECT {x:String}").text(), "a\n");
}

#[test]
fn it_refuses_whatever_writes_or_looks_outside() {
    let engine = shared();
    engine.value("CREATE TABLE guarded (a UInt8) ENGINE = MergeTree ORDER BY a");
    let outside = std::env::temp_dir().join(format!("throughline-public-{}", std::process::id()));
    let (mut passed, mut tried) = (Vec::new(), 0);
    for (query, sql) in [
        ("", "INSERT INTO guarded VALUES (1)"),
        ("query=INSERT%20INTO%20guarded%20FORMAT%20CSV", "1"),
        ("", "INSERT INTO guarded SELECT 1"),
        ("", "CREATE TABLE made (a UInt8) ENGINE = Memory"),
        ("", "CREATE TEMPORARY TABLE made (a UInt8)"),
        ("", "DROP TABLE guarded"),
        ("", "ALTER TABLE guarded DELETE WHERE 1"),
        ("", "SELECT 1; DROP TABLE guarded"),
        ("", "SELECT 1; SELECT 2"),
        ("", "SET readonly = 0"),
        ("", "SYSTEM FLUSH LOGS"),
        ("", "KILL QUERY WHERE 1"),
        ("", "SELECT 1 SETTINGS max_execution_time = 0"),
        ("", &format!("SELECT 1 INTO OUTFILE '{}'", outside.display())),
        ("", &format!("SELECT 1 INTO/**/OUTFILE '{}' FORMAT CSV", outside.display())),
        ("", "SELECT file('/etc/passwd')"),
        ("", "SELECT `file`('/etc/passwd')"),
        ("", "SELECT * FROM file('/etc/passwd', 'LineAsString')"),
        ("", "SELECT * FROM /* x */ FILE -- y\n ('/etc/passwd', 'LineAsString')"),
        ("", "SELECT (SELECT file('/etc/passwd'))"),
        ("", "SELECT * FROM '/etc/passwd'"),
        ("", "SELECT * FROM `/etc/passwd`"),
        ("", "SELECT * FROM default.`/etc/passwd`"),
        ("", "SELECT 1 FROM numbers(1) JOIN '/etc/passwd' ON 1"),
        ("", "SELECT 1 IN `/etc/passwd`"),
        ("", "WITH x AS (SELECT * FROM '/etc/passwd') SELECT * FROM x"),
        ("param_t=/etc/passwd", "SELECT * FROM {t:Identifier}"),
        ("", "DESCRIBE TABLE '/etc/passwd'"),
        ("", "EXISTS TABLE default.`/etc/passwd`"),
        ("", "EXPLAIN SELECT * FROM '/etc/passwd'"),
        ("", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"),
        ("", "SELECT * FROM s3('http://127.0.0.1:1/a/b', 'CSV')"),
        ("", "SELECT * FROM remote('127.0.0.1:1', system.one)"),
        ("", "SELECT * FROM executable('id', 'TSV', 'a String')"),
        ("", "SELECT * FROM view(SELECT * FROM file('/etc/passwd', 'LineAsString'))"),
        ("", "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')"),
        ("", "SELECT 1 FROM"),
        // What others ask, what was erased, what the machine is.
        ("", "SELECT query FROM system.processes"),
        ("", "SELECT * FROM `system`.`processes` AS x"),
        ("", "SELECT (SELECT any(query) FROM system.processes)"),
        ("", "SELECT 1 IN system.processes"),
        ("", "SELECT * FROM guarded, system.processes"),
        ("", "WITH x AS (SELECT * FROM system.processes) SELECT * FROM x"),
        ("", "EXPLAIN SELECT * FROM system.processes"),
        ("", "DESCRIBE (SELECT * FROM system.processes)"),
        ("database=system", "SELECT * FROM processes"),
        ("database=SYSTEM", "SELECT 1"),
        ("", "SELECT * FROM merge('system', 'processes')"),
        ("", "SELECT * FROM merge(REGEXP('sys.*'), 'processes')"),
        ("", "SELECT * FROM loop(system.processes)"),
        ("", "SELECT * FROM cluster('default', system.processes)"),
        ("", "SELECT * FROM clusterAllReplicas('default', system.processes)"),
        ("", "SHOW PROCESSLIST"),
        ("", "SELECT command FROM system.mutations"),
        ("", "SELECT * FROM system.query_log"),
        ("", "SELECT * FROM system.text_log"),
        ("", "SELECT * FROM system.users"),
        ("", "SELECT * FROM system.named_collections"),
        ("", "SELECT * FROM system.server_settings"),
        ("", "SELECT * FROM system.disks"),
        ("", "SELECT * FROM system.dictionaries"),
        ("", "SELECT * FROM system.user_processes"),
        ("", "SELECT * FROM system.parts"),
        ("", "SHOW USERS"),
        ("", "SHOW GRANTS"),
        ("", "SHOW CREATE USER default"),
        ("", "SELECT getServerSetting('path')"),
        ("", "SELECT filesystemAvailable('default')"),
        ("", "SELECT addressToSymbol(toUInt64(1))"),
        ("", "SELECT showCertificate()"),
        // Log lines, sleep, work that is no question.
        ("", "SELECT logTrace('forged')"),
        ("", "SELECT sleepEachRow(1) FROM numbers(3)"),
        ("", "CHECK TABLE guarded"),
        ("", "USE system"),
        // Settings that lift bounds, write, name files or change the language.
        ("max_untracked_memory=100000000000", "SELECT 1"),
        ("max_bytes_before_external_group_by=1", "SELECT 1"),
        ("max_temporary_data_on_disk_size_for_query=0", "SELECT 1"),
        ("timeout_overflow_mode=break", "SELECT 1"),
        ("max_threads=100000", "SELECT 1"),
        ("allow_introspection_functions=1", "SELECT 1"),
        ("dialect=kusto&allow_experimental_kusto_dialect=1", "guarded"),
        ("format_schema=/etc/passwd", "SELECT 1 FORMAT Template"),
        ("format_template_row=/etc/passwd", "SELECT 1 FORMAT Template"),
        ("", "SELECT 1 SETTINGS readonly = 0"),
        ("", "SELECT 1 SETTINGS max_memory_usage = 0, max_threads = 100"),
        ("", "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)"),
        // Second statements that hide, and words that are no SELECT.
        ("", "SELECT 1 /* ; */ ; /**/ DROP TABLE guarded"),
        ("", "SELECT 1 -- x\n; DROP TABLE guarded"),
        ("", "SELECT 1 # x\n; DROP TABLE guarded"),
        ("", "SELECT $q$ ; $q$; DROP TABLE guarded"),
        ("", "(SELECT 1); DROP TABLE guarded"),
        ("", "SELECT 1\0; DROP TABLE guarded"),
        ("", "\u{feff}DROP TABLE guarded"),
        ("", "/* SELECT */ DROP TABLE guarded"),
        ("query=SELECT%201%3B", "DROP TABLE guarded"),
        ("query=SELECT%201%20--", "; DROP TABLE guarded"),
        ("", "EXPLAIN DROP TABLE guarded"),
        ("", "TRUNCATE TABLE guarded"),
        ("", "OPTIMIZE TABLE guarded FINAL"),
        ("", "RENAME TABLE guarded TO other"),
        ("", "DETACH TABLE guarded"),
        ("", "DELETE FROM guarded WHERE 1"),
        ("", "UPDATE guarded SET a = 1 WHERE 1"),
        ("", "BEGIN TRANSACTION"),
        ("", "GRANT ALL ON *.* TO default"),
        ("", "CREATE USER x"),
        ("", "CREATE FUNCTION f AS x -> x"),
        ("", "CREATE NAMED COLLECTION n AS a = 1"),
        ("", "CREATE VIEW v AS SELECT * FROM url('http://127.0.0.1:1/')"),
        (
            "",
            "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(FILE(path '/etc/passwd' format 'TSV')) LAYOUT(FLAT()) LIFETIME(1)",
        ),
        ("", "BACKUP TABLE guarded TO File('x')"),
        ("", "RESTORE TABLE guarded FROM File('x')"),
        ("", "SYSTEM SHUTDOWN"),
        ("", "SYSTEM RELOAD CONFIG"),
        ("", "WATCH guarded"),
        ("", "EXECUTE AS default SELECT 1"),
        // The rest of what reaches outside.
        ("", "SELECT * FROM input('a String')"),
        ("", "SELECT * FROM dictionary('d')"),
        ("", "SELECT * FROM fileCluster('a', '/etc/passwd')"),
        ("", "SELECT * FROM urlCluster('a', 'http://127.0.0.1:1/')"),
        ("", "SELECT * FROM s3Cluster('a', 'http://127.0.0.1:1/a/b')"),
        ("", "SELECT * FROM gcs('http://127.0.0.1:1/a/b')"),
        ("", "SELECT * FROM azureBlobStorage('x', 'y', 'z')"),
        ("", "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x')"),
        ("", "SELECT * FROM iceberg('http://127.0.0.1:1/')"),
        ("", "SELECT * FROM sqlite('/tmp/x', 't')"),
        ("", "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')"),
        ("", "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')"),
        ("", "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'e String')"),
        ("", "SELECT * FROM remoteSecure('127.0.0.1:1', system.one)"),
        ("", "SELECT * FROM jdbc('x', 'y')"),
        ("", "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))"),
        ("", "DESCRIBE TABLE url('http://127.0.0.1:1/')"),
        ("", &format!("SELECT 1 UNION ALL SELECT 2 INTO OUTFILE '{}' TRUNCATE", outside.display())),
    ] {
        let answer = engine.ask_public(query, sql);
        if ![400, 403].contains(&answer.status) || answer.text().contains("root:") {
            passed.push(format!("{query} {sql}: {} {}", answer.status, answer.text()));
        }
        tried += 1;
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
    assert!(tried > 100, "{tried}");
    assert!(!outside.exists());
    assert_eq!(engine.value("SELECT count() FROM guarded"), "0");
    assert_eq!(engine.value("EXISTS TABLE made"), "0");
}

/// What cannot be told by its text is bounded while it runs: by time, by memory, by what is laid on the disk.
#[test]
fn what_never_ends_is_ended() {
    let engine = shared();
    for (query, sql, code) in [
        ("max_execution_time=1", "SELECT sum(number) FROM numbers(1000000000000000000)", "159"),
        ("max_execution_time=1", "SELECT count() FROM system.numbers", "159"),
        (
            "max_execution_time=1",
            "SELECT count() FROM numbers(1000000000000) AS a, numbers(1000000000000) AS b",
            "159",
        ),
        (
            "max_execution_time=1",
            "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT n FROM x",
            "",
        ),
        ("", "SELECT arrayMap(x -> arrayMap(y -> x * y, range(100000)), range(100000))", "241"),
        ("", "SELECT length(repeat(repeat('x', 1000000000), 10))", ""),
        ("max_memory_usage=20000000", "SELECT groupArray(number) FROM numbers(100000000)", "241"),
    ] {
        let answer = engine.ask_public(query, sql);
        assert!(answer.text().contains(&format!("Code: {code}")), "{sql}: {}", answer.status);
    }
    let bound = "SELECT getSetting('max_temporary_data_on_disk_size_for_query')";
    assert_eq!(engine.ask_public("", bound).text(), "1073741824\n");
    assert_eq!(engine.value("SELECT 1"), "1", "the engine is none the worse");
}

/// What tools ask before they show anything.
#[test]
fn tools_find_tables_and_columns() {
    let engine = shared();
    engine.value("CREATE TABLE found (a UInt8) ENGINE = MergeTree ORDER BY a");
    for sql in [
        "SELECT count() > 0 FROM system.tables WHERE name = 'found'",
        "SELECT count() > 0 FROM system.columns AS c WHERE c.table = 'found'",
        "SELECT count() > 0 FROM information_schema.columns WHERE table_name = 'found'",
        "SELECT count() > 0 FROM system.databases",
        "SELECT count() > 0 FROM system.functions",
        "SELECT count() > 0 FROM system.settings",
    ] {
        assert_eq!(
            engine.ask_public("output_format_json_quote_64bit_integers=1", sql).text(),
            "1\n",
            "{sql}"
        );
    }
    for sql in ["SHOW TABLES", "SHOW DATABASES", "DESCRIBE found", "SHOW CREATE TABLE found", "EXISTS found"]
    {
        assert_eq!(engine.ask_public("", sql).status, 200, "{sql}");
    }
}

#[test]
fn its_secret_and_the_service_s_are_not_each_other_s() {
    let engine = shared();
    let credentials =
        engine::Credentials::read_or_create(engine.ready.credentials.as_ref().unwrap()).unwrap();
    let public = engine.ready.public.as_ref().unwrap();
    let ask = |address: &str, user: &str, secret: &str| {
        let who = engine::Credentials { user: user.into(), secret: secret.into() };
        crate::support::request(address, "POST", "", &who, b"SELECT 1").status
    };
    assert_eq!(ask(public, &credentials.user, &credentials.secret), 200);
    assert_eq!(ask(&engine.ready.listening, &credentials.user, &credentials.secret), 403);
    assert_eq!(ask(public, engine::SERVICE_USER, "a secret of the tests"), 403);
}
