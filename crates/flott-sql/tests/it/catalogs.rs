//! Catalogs that are files, and the store of catalogs' definitions, over files in memory.

use flott_core::Options;
use flott_sql::catalog::CatalogFiles;
use flott_sql::{Outcome, Script, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

/// Files by path, and folders.
#[derive(Debug, Default)]
struct Memory(Mutex<(BTreeMap<String, String>, BTreeSet<String>)>);

impl Memory {
    fn put(&self, file: &str, text: &str) {
        let mut held = self.0.lock().unwrap();
        let mut folder = file;
        while let Some((above, _)) = folder.rsplit_once('/') {
            held.1.insert(above.to_owned());
            folder = above;
        }
        held.0.insert(file.to_owned(), text.to_owned());
    }

    fn text(&self, file: &str) -> String {
        self.0.lock().unwrap().0.get(file).cloned().unwrap_or_default()
    }

    fn paths(&self) -> Vec<String> {
        self.0.lock().unwrap().0.keys().cloned().collect()
    }
}

fn direct<'a>(paths: impl Iterator<Item = &'a String>, folder: &str) -> Vec<String> {
    let below = format!("{folder}/");
    paths
        .filter_map(|p| p.strip_prefix(&below))
        .filter(|p| !p.contains('/'))
        .map(str::to_owned)
        .collect()
}

impl CatalogFiles for Memory {
    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        if folder.starts_with("/secret") {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(direct(self.0.lock().unwrap().1.iter(), folder))
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(direct(self.0.lock().unwrap().0.keys(), folder))
    }

    fn read(&self, file: &str) -> io::Result<Option<String>> {
        Ok(self.0.lock().unwrap().0.get(file).cloned())
    }

    fn create(&self, file: &str, text: &str) -> io::Result<bool> {
        let is_new = !self.0.lock().unwrap().0.contains_key(file);
        if is_new {
            self.put(file, text);
        }
        Ok(is_new)
    }

    fn replace(&self, file: &str, text: &str) -> io::Result<()> {
        self.put(file, text);
        Ok(())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.0.lock().unwrap().0.remove(file);
        Ok(())
    }

    fn make_folder(&self, folder: &str) -> io::Result<bool> {
        self.put(&format!("{folder}/x"), "");
        self.remove(&format!("{folder}/x"))?;
        Ok(true)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let mut held = self.0.lock().unwrap();
        let below = format!("{folder}/");
        held.0.retain(|p, _| !p.starts_with(&below));
        held.1.retain(|p| p != folder);
        Ok(())
    }
}

fn session(files: &Arc<Memory>, options: &[(&str, &str)]) -> Session {
    let session = Session::new(
        Arc::new(flott::registry()),
        options.iter().copied().collect::<Options>(),
    );
    session.with_files(files.clone()).unwrap()
}

/// The answers of statements: OK, rows with blanks between their cells, or the error.
fn run(session: &mut Session, text: &str) -> Vec<String> {
    let script = Script::parse(text, &|_| None).unwrap();
    let answer = |outcome| match outcome {
        Err(e) => format!("ERROR {e}"),
        Ok(Outcome::Rows { rows, .. }) => rows.iter().map(|r| r.join(" ")).collect::<Vec<_>>().join("\n"),
        Ok(Outcome::Job(_)) => "JOB".to_owned(),
        Ok(_) => "OK".to_owned(),
    };
    let statements = script.statements().iter();
    statements.map(|s| answer(session.execute(&script, s))).collect()
}

fn last(session: &mut Session, text: &str) -> String {
    run(session, text).pop().unwrap()
}

const CATALOG: &str = "CREATE CATALOG c WITH ('type' = 'file', 'path' = '/lake/');";
const TABLE: &str = "CREATE TABLE c.shop.orders (id BIGINT, at TIMESTAMP(3), total AS id * 2, WATERMARK FOR at AS at - INTERVAL '5' SECOND,
  PRIMARY KEY (id) NOT ENFORCED) COMMENT 'it''s ours' WITH ('connector' = 'datagen', 'rows-per-second' = '7');";

#[test]
fn tables_are_files_that_other_sessions_see() {
    let files = Arc::new(Memory::default());
    let mut one = session(&files, &[]);
    let given = run(
        &mut one,
        &format!(
            "{CATALOG} CREATE DATABASE c.shop COMMENT 'all' WITH ('k' = 'v'); {TABLE}
             CREATE TABLE plain (a INT) WITH ('connector' = 'print', 'print-identifier' = 'x');
             CREATE VIEW c.shop.big AS SELECT nothing FROM c.shop.orders;
             USE c.shop; CREATE VIEW `odd name` (n) COMMENT 'v' AS SELECT id FROM orders;"
        ),
    );
    // A view that is refused leaves no file.
    assert!(given[4].starts_with("ERROR"), "{given:?}");
    assert_eq!(given[5..], ["OK", "OK"]);
    assert_eq!(
        files.paths(),
        [
            "/lake/shop/database.yaml",
            "/lake/shop/odd%20name.sql",
            "/lake/shop/orders.sql"
        ]
    );
    assert_eq!(
        files.text("/lake/shop/odd%20name.sql"),
        "CREATE VIEW `odd name` (`n`) COMMENT 'v' AS\nSELECT id FROM orders;\n"
    );
    let expected = "CREATE TABLE `orders` (
  `id` BIGINT NOT NULL,
  `at` TIMESTAMP(3),
  `total` AS `id` * 2,
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND,
  CONSTRAINT `PK_id` PRIMARY KEY (`id`) NOT ENFORCED
)
COMMENT 'it''s ours'
WITH (
  'connector' = 'datagen',
  'rows-per-second' = '7'
);
";
    assert_eq!(files.text("/lake/shop/orders.sql"), expected);

    // Another name for the same folder.
    let mut two = session(&files, &[]);
    let given = run(
        &mut two,
        "CREATE CATALOG other WITH ('type' = 'file', 'path' = '/lake', 'default-database' = 'shop'); USE CATALOG other;
         SHOW TABLES; SHOW VIEWS; DESCRIBE DATABASE EXTENDED shop; SELECT n FROM `odd name`; SHOW CREATE TABLE orders;",
    );
    assert_eq!(given[2..4], ["odd name\norders", "odd name"]);
    assert!(given[4].contains("comment all\noption:k v"), "{}", given[4]);
    assert_eq!(given[5], "JOB");
    assert!(given[6].contains("`other`.`shop`.`orders`"), "{}", given[6]);

    // What one does the other sees with its next statement.
    assert_eq!(
        run(
            &mut two,
            "ALTER TABLE orders SET ('rows-per-second' = '9'); DROP VIEW `odd name`; CREATE TABLE n (a INT) WITH ('connector' = 'print');"
        ),
        ["OK", "OK", "OK"]
    );
    assert!(last(&mut one, "SHOW CREATE TABLE c.shop.orders;").contains("'rows-per-second' = '9'"));
    assert_eq!(last(&mut one, "SHOW TABLES;"), "n\norders");
    let taken = last(&mut one, "CREATE TABLE n (b INT) WITH ('connector' = 'print');");
    assert!(taken.contains("exists already"), "{taken}");
    assert_eq!(
        run(&mut one, "ALTER TABLE n RENAME TO m; SHOW TABLES;"),
        ["OK", "m\norders"]
    );
    assert_eq!(last(&mut two, "SHOW TABLES;"), "m\norders");
    // From another catalog: what is renamed stays where it is.
    assert_eq!(
        run(
            &mut one,
            "USE CATALOG default_catalog; ALTER TABLE c.shop.m RENAME TO l; SHOW TABLES; SHOW TABLES FROM c.shop; \
             CREATE VIEW c.shop.v AS SELECT 1 AS a; ALTER VIEW c.shop.v RENAME TO c.shop.w;"
        ),
        ["OK", "OK", "plain", "l\norders", "OK", "OK"]
    );
    assert_eq!(last(&mut two, "SHOW TABLES;"), "l\norders\nw");
    let moved = last(
        &mut one,
        "ALTER TABLE c.shop.l RENAME TO default_catalog.default_database.l;",
    );
    assert!(moved.contains("does not move it"), "{moved}");
    assert_eq!(
        run(
            &mut one,
            "DROP VIEW c.shop.w; ALTER TABLE c.shop.l RENAME TO m; USE CATALOG c; USE shop;"
        ),
        ["OK", "OK", "OK", "OK"]
    );
    let full = last(&mut one, "USE CATALOG default_catalog; DROP DATABASE c.shop;");
    assert!(full.contains("not empty"), "{full}");
    assert_eq!(last(&mut one, "DROP DATABASE c.shop CASCADE;"), "OK");
    assert_eq!(files.paths(), Vec::<String>::new());
}

#[test]
fn a_view_remembers_where_short_names_were_looked_for() {
    let files = Arc::new(Memory::default());
    let mut one = session(&files, &[]);
    run(
        &mut one,
        &format!(
            "{CATALOG} CREATE DATABASE c.shop; {TABLE} USE c.shop; CREATE VIEW c.`default`.v AS SELECT id FROM orders;"
        ),
    );
    assert_eq!(
        files.text("/lake/default/v.sql"),
        "USE `c`.`shop`;\nCREATE VIEW `v` AS\nSELECT id FROM orders;\n"
    );
    let mut two = session(&files, &[]);
    assert_eq!(
        last(&mut two, &format!("{CATALOG} SELECT * FROM c.`default`.v;")),
        "JOB"
    );
}

#[test]
fn a_table_as_select_leaves_no_file_when_its_job_cannot_be() {
    let files = Arc::new(Memory::default());
    let mut one = session(&files, &[]);
    let made = "CREATE TABLE c.`default`.s WITH ('connector' = 'print', 'nonsense' = '1') AS SELECT 1 AS n;";
    let error = last(&mut one, &format!("{CATALOG} {made}"));
    assert!(error.contains("nonsense"), "{error}");
    assert_eq!(files.paths(), Vec::<String>::new());
    assert_eq!(last(&mut one, &made.replace(", 'nonsense' = '1'", "")), "JOB");
    assert_eq!(files.paths(), ["/lake/default/s.sql"]);
}

#[test]
fn a_damaged_file_is_an_error_of_its_own_table_only() {
    let files = Arc::new(Memory::default());
    let mut one = session(&files, &[]);
    run(&mut one, &format!("{CATALOG} CREATE DATABASE c.shop; {TABLE}"));
    files.put(
        "/lake/shop/bad.sql",
        "CREATE TABLE `bad` (\n  `a` INT,\n  `b` AS c + 1\n) WITH ('connector' = 'print');\n",
    );
    files.put("/lake/shop/half.sql", "CREATE TABLE `half` (\n  `a` IN");
    files.put(
        "/lake/shop/other.sql",
        "CREATE TABLE `name` (`a` INT) WITH ('connector' = 'print');",
    );
    files.put("/lake/shop/two.sql", "CREATE TABLE `two` (`a` INT);\nSELECT 1;");
    files.put("/lake/shop/notes.txt", "not a table");
    assert_eq!(
        last(&mut one, "SHOW TABLES IN c.shop;"),
        "bad\nhalf\norders\nother\ntwo"
    );
    assert_eq!(last(&mut one, "SELECT id FROM c.shop.orders;"), "JOB");
    let bad = last(&mut one, "SELECT a\n FROM c.shop.bad;");
    assert!(bad.contains("at line 2, column 7"), "{bad}");
    assert!(
        bad.contains("cannot be read from /lake/shop/bad.sql, line 3, column 10"),
        "{bad}"
    );
    assert!(bad.contains("remedy: correct the file; DROP TABLE removes it"), "{bad}");
    let half = last(&mut one, "DESCRIBE c.shop.half;");
    assert!(half.contains("/lake/shop/half.sql, line 2"), "{half}");
    let other = last(&mut one, "DESCRIBE c.shop.other;");
    assert!(
        other.contains("it defines '`name`', but by its file's name it is 'other'"),
        "{other}"
    );
    let two = last(&mut one, "DESCRIBE c.shop.two;");
    assert!(two.contains("line 2, column 1: a table's file holds one"), "{two}");
    assert!(
        last(
            &mut one,
            "CREATE TABLE c.shop.bad (a INT) WITH ('connector' = 'print');"
        )
        .contains("exists already")
    );
    assert_eq!(last(&mut one, "DROP TABLE c.shop.two;"), "OK");
    files.put(
        "/lake/shop/half.sql",
        "CREATE TABLE `half` (\n  `a` INT) WITH ('connector' = 'print');",
    );
    assert!(last(&mut one, "DESCRIBE c.shop.half;").starts_with("a INT"));
    assert_eq!(last(&mut one, "SHOW TABLES IN c.shop;"), "bad\nhalf\norders\nother");
}

#[test]
fn the_store_keeps_definitions_of_catalogs() {
    let files = Arc::new(Memory::default());
    let options = [
        ("table.catalog-store.kind", "file"),
        ("table.catalog-store.file.path", "/store"),
    ];
    let mut one = session(&files, &options);
    run(
        &mut one,
        &format!(
            "{CATALOG} CREATE CATALOG m COMMENT 'mine' WITH ('type' = 'generic_in_memory', 'default-database' = 'd');
             CREATE CATALOG gone WITH ('type' = 'generic_in_memory'); DROP CATALOG gone; CREATE DATABASE c.shop; {TABLE}
             ALTER CATALOG m SET ('default-database' = 'e');"
        ),
    );
    assert_eq!(
        files.text("/store/m.yaml"),
        "# comment: \"mine\"\n\"default-database\": \"e\"\n\"type\": \"generic_in_memory\"\n"
    );
    files.put("/store/flinks.yaml", "type: paimon\nwarehouse: /w\n");
    files.put("/store/broken.yaml", "type: a: b\n");
    let mut two = session(&files, &options);
    assert_eq!(
        last(&mut two, "SHOW CATALOGS;"),
        "broken\nc\ndefault_catalog\nflinks\nm"
    );
    assert_eq!(last(&mut two, "SHOW TABLES IN c.shop;"), "orders");
    assert!(last(&mut two, "DESCRIBE CATALOG m;").contains("comment mine"));
    assert_eq!(last(&mut two, "USE CATALOG m; SHOW CURRENT DATABASE;"), "e");
    let paimon = last(&mut two, "USE CATALOG flinks;");
    assert!(
        paimon.contains(
            "the catalog 'flinks' of /store/flinks.yaml cannot be used: there is no catalog of the type 'paimon'"
        ),
        "{paimon}"
    );
    assert!(
        last(&mut two, "USE CATALOG broken;").contains("/store/broken.yaml"),
        "the file is named"
    );
    assert_eq!(last(&mut two, "DROP CATALOG broken;"), "OK");
    // A definition that another session has made meanwhile is not written over.
    files.put("/store/late.yaml", "type: generic_in_memory\n");
    let taken = last(&mut two, "CREATE CATALOG late WITH ('type' = 'generic_in_memory');");
    assert!(taken.contains("'late' exists already"), "{taken}");
    let mut three = session(&files, &[]);
    assert_eq!(last(&mut three, "SHOW CATALOGS;"), "default_catalog");
    let set = "SET 'table.catalog-store.kind' = 'file'; SET 'table.catalog-store.file.path' = '/store'; SHOW CATALOGS;";
    assert_eq!(last(&mut three, set), "c\ndefault_catalog\nflinks\nlate\nm");
}

#[test]
fn a_catalog_that_cannot_be_read_is_an_error_where_it_is_used() {
    let files = Arc::new(Memory::default());
    let mut one = session(&files, &[]);
    let given = run(
        &mut one,
        "CREATE CATALOG s WITH ('type' = 'file', 'path' = '/secret'); SHOW TABLES; USE CATALOG s; DROP CATALOG s; SHOW CATALOGS;",
    );
    assert_eq!(given[1], "");
    assert!(
        given[2].contains("the catalog 's' cannot be read: /secret"),
        "{}",
        given[2]
    );
    assert_eq!(given[3..], ["OK", "default_catalog"]);
    let none = Session::new(Arc::new(flott::registry()), Options::new());
    let error = last(&mut none.clone(), CATALOG);
    assert!(error.contains("no access to files"), "{error}");
    let missing = last(&mut one, "CREATE CATALOG s WITH ('type' = 'file');");
    assert!(missing.contains("needs the option 'path'"), "{missing}");
    let wrong: Options = [("table.catalog-store.kind", "file")].into_iter().collect();
    let error = Session::new(Arc::new(flott::registry()), wrong)
        .with_files(files)
        .unwrap_err();
    assert!(
        error.to_string().contains("'table.catalog-store.file.path' is missing"),
        "{error}"
    );
}
