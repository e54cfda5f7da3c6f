//! The description of the server: answers are as it says, and whole.

use crate::support::Server;
use serde_json::Value;
use std::collections::BTreeSet;

/// The document that the server gives.
pub struct Description(Value);

impl Description {
    /// Asks for it.
    pub async fn of(server: &Server) -> Self {
        Self(server.get("/v1/openapi.json").await)
    }

    /// What an answer has that is not described, or not as described. What is answered to paths that are not described is an error.
    pub fn differences(&self, method: &str, path: &str, status: u16, answer: &Value) -> Vec<String> {
        let errors = &self.0["components"]["responses"]["Errors"];
        let response = self.operation(method, path).map(|operation| {
            let responses = &operation["responses"];
            self.resolved(responses.get(status.to_string()).unwrap_or(&responses["default"]))
        });
        let schema = &response.unwrap_or(errors)["content"]["application/json"]["schema"];
        let mut found = vec![];
        self.check(schema, answer, "", &mut found);
        found
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let asked: Vec<&str> = path.split('?').next()?.split('/').collect();
        let fits = |pattern: &str| {
            let parts: Vec<&str> = pattern.split('/').collect();
            parts.len() == asked.len()
                && parts
                    .iter()
                    .zip(&asked)
                    .all(|(part, asked)| part.starts_with('{') || part == asked)
        };
        let paths = self.0["paths"].as_object().unwrap().iter();
        // A word beats what stands for one.
        let best = paths
            .filter(|(pattern, _)| fits(pattern))
            .min_by_key(|(pattern, _)| pattern.matches('{').count());
        best?.1.get(method.to_lowercase())
    }

    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(to) => self
                .0
                .pointer(to.trim_start_matches('#'))
                .unwrap_or_else(|| panic!("{to} is nowhere")),
            None => part,
        }
    }

    /// Fields of an object that are described.
    fn properties<'a>(&'a self, schema: &'a Value) -> Vec<(&'a String, &'a Value)> {
        let schema = self.resolved(schema);
        let own = schema["properties"].as_object().into_iter().flatten();
        let all = schema["allOf"].as_array().into_iter().flatten();
        own.chain(all.flat_map(|part| self.properties(part))).collect()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = self.resolved(schema);
        if let Some(one_of) = schema["oneOf"].as_array() {
            let fit = one_of.iter().filter(|schema| {
                let mut wrong = vec![];
                self.check(schema, value, at, &mut wrong);
                wrong.is_empty()
            });
            if fit.count() != 1 {
                found.push(format!("{at}: {value} is not one of {one_of:?}"));
            }
            return;
        }
        let parts = schema["allOf"].as_array().into_iter().flatten();
        parts.for_each(|part| self.check_required(part, value, at, found));
        if !is_of_type(&schema["type"], value) {
            found.push(format!("{at}: {value} is no {}", schema["type"]));
        }
        let allowed = schema["enum"].as_array();
        if allowed.is_some_and(|allowed| !allowed.contains(value))
            || schema.get("const").is_some_and(|only| only != value)
        {
            found.push(format!("{at}: {value} is none of the values"));
        }
        if schema["minimum"]
            .as_i64()
            .is_some_and(|least| value.as_i64().is_some_and(|value| value < least))
        {
            found.push(format!("{at}: {value} is too small"));
        }
        self.check_required(schema, value, at, found);
        match value {
            Value::Array(all) => all
                .iter()
                .for_each(|one| self.check(&schema["items"], one, &format!("{at}/*"), found)),
            Value::Object(fields) => self.check_fields(schema, fields, at, found),
            _ => {}
        }
    }

    fn check_required(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let required = self.resolved(schema)["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let missing = required.filter(|name| value.get(name).is_none());
        found.extend(missing.map(|name| format!("{at}: no {name}")));
    }

    fn check_fields(&self, schema: &Value, fields: &serde_json::Map<String, Value>, at: &str, found: &mut Vec<String>) {
        let properties = self.properties(schema);
        let others = schema.get("additionalProperties");
        // An object of which nothing is said may have anything.
        if properties.is_empty() && others.is_none() {
            return;
        }
        for (name, field) in fields {
            let described = properties
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, schema)| *schema);
            match described.or(others) {
                Some(schema) => self.check(schema, field, &format!("{at}/{name}"), found),
                None => found.push(format!("{at}/{name} is not described")),
            }
        }
    }
}

fn is_of_type(types: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        other => panic!("{other:?} is no type"),
    };
    match types {
        Value::Null => true,
        Value::Array(several) => several.iter().any(is),
        one => is(one),
    }
}

/// All references of a document.
fn references<'a>(part: &'a Value, found: &mut BTreeSet<&'a str>) {
    match part {
        Value::Array(all) => all.iter().for_each(|one| references(one, found)),
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_holds_together() {
    let server = Server::start(&[]).await;
    let Description(document) = Description::of(&server).await;
    assert_eq!(document, server.get("/openapi.json").await);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    for reference in &referred {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} is nowhere");
    }
    for (sort, parts) in document["components"].as_object().unwrap() {
        for name in parts.as_object().unwrap().keys() {
            let reference = format!("#/components/{sort}/{name}");
            assert!(referred.contains(reference.as_str()), "nothing refers to {reference}");
        }
    }

    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "parameters")
        {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "two operations are called {name}");
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
        let shared = item["parameters"].as_array().into_iter().flatten();
        let resolved = shared.map(|parameter| match parameter["$ref"].as_str() {
            Some(to) => document.pointer(&to[1..]).unwrap(),
            None => parameter,
        });
        let described: BTreeSet<String> = resolved
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let in_path = path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned);
        assert_eq!(described, in_path.collect(), "{path}");
    }
}
