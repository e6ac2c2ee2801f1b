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
    ] {
        let answer = engine.ask_public(query, sql);
        assert!([400, 403].contains(&answer.status), "{sql}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("root:"), "{sql}");
    }
    assert!(!outside.exists());
    assert_eq!(engine.value("SELECT count() FROM guarded"), "0");
    assert_eq!(engine.value("EXISTS TABLE made"), "0");
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
