//! A board as its file says it: panels, queries, variables.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One file of `dashboards/`.
pub(crate) struct Board {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) json: Value,
}

/// A statement of a board.
pub(crate) struct Query {
    /// Panel, annotation or variable.
    pub(crate) of: String,
    pub(crate) sql: String,
    pub(crate) interval_s: i64,
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

impl Board {
    /// Every board, by file name.
    pub(crate) fn all() -> Vec<Self> {
        let mut files: Vec<_> = std::fs::read_dir(directory())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        files.sort();
        assert_eq!(files.len(), 6, "{files:?}");
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            let json = serde_json::from_str(&text).unwrap();
            Self { file: path.file_name().unwrap().to_string_lossy().into_owned(), text, json }
        };
        files.iter().map(read).collect()
    }

    pub(crate) fn named(file: &str) -> Self {
        Self::all().into_iter().find(|board| board.file == file).expect("a board of this name")
    }

    pub(crate) fn uid(&self) -> &str {
        self.json["uid"].as_str().unwrap()
    }

    pub(crate) fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().unwrap()
    }

    pub(crate) fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().unwrap()
    }

    /// Statements of panels.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let Some(sql) = target["rawSql"].as_str() else { continue };
                let interval_s = if panel["interval"] == "5m" { 300 } else { 60 };
                let of = panel["title"].as_str().unwrap().to_owned();
                queries.push(Query { of, sql: sql.to_owned(), interval_s });
            }
        }
        queries
    }

    /// Statements of annotations.
    pub(crate) fn annotations(&self) -> Vec<Query> {
        let list = self.json["annotations"]["list"].as_array().unwrap();
        list.iter()
            .map(|annotation| {
                let sql = annotation["target"]["rawSql"].as_str().unwrap();
                assert!(annotation["rawQuery"] == sql && annotation["customSql"] == sql, "{annotation}");
                let of = format!("annotation {}", annotation["name"].as_str().unwrap());
                Query { of, sql: sql.to_owned(), interval_s: 60 }
            })
            .collect()
    }

    /// What is asked for over Tempo's API.
    pub(crate) fn tempo(&self) -> Vec<(String, String)> {
        let mut asked = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                if target["datasource"]["type"] == "tempo" {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    asked.push((text(&panel["title"]), text(&target["query"])));
                }
            }
        }
        asked
    }
}
