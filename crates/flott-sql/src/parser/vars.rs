//! `${NAME}` in a script, filled in before anything else reads it: in strings, comments and bare text alike.
//!
//! A name is letters, digits, `_`, `.` and `-`, starting with a letter or `_`; anything else after `${` stays as it
//! is. Inside of comments an unset name stays as it is too, so that a script can describe its own variables.

use crate::error::{SqlError, SqlResult, Step};
use sqlparser::tokenizer::Location;

/// The text with every `${NAME}` replaced by what `lookup` gives for it.
///
/// # Errors
/// If a name outside of comments is unset; names the line and the variable.
pub fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> SqlResult<String> {
    let mut out = String::with_capacity(text.len());
    let mut scan = Scanner::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(name) = variable(rest) {
            let whole = name.len() + 3;
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None if scan.in_comment() => out.push_str(&rest[..whole]),
                None => return Err(unset(name, &scan).in_source(text)),
            }
            scan.column += whole as u64;
            rest = &rest[whole..];
            continue;
        }
        scan.step(c, rest);
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Ok(out)
}

fn unset(name: &str, scan: &Scanner) -> SqlError {
    SqlError::new(Step::Variable, format!("the variable '{name}' has no value"))
        .at(Location {
            line: scan.line,
            column: scan.column,
        })
        .remedy(format!(
            "give it with --var {name}=VALUE or set the environment variable {name}"
        ))
}

/// The name of the variable at the start of `text`.
fn variable(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?;
    let name = &inner[..inner.find('}')?];
    let first = name.chars().next()?;
    let fits = (first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    fits.then_some(name)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    String,
    Name,
    LineComment,
    BlockComment,
}

/// Where the reader is: line and column, and inside of what.
struct Scanner {
    line: u64,
    column: u64,
    inside: Inside,
    previous: char,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            line: 1,
            column: 1,
            inside: Inside::Code,
            previous: ' ',
        }
    }
}

impl Scanner {
    fn in_comment(&self) -> bool {
        matches!(self.inside, Inside::LineComment | Inside::BlockComment)
    }

    fn step(&mut self, c: char, rest: &str) {
        self.inside = match (self.inside, c) {
            (Inside::Code, '\'') => Inside::String,
            (Inside::String, '\'') => Inside::Code,
            (Inside::Code, '`') => Inside::Name,
            (Inside::Name, '`') => Inside::Code,
            (Inside::Code, '-') if rest.starts_with("--") => Inside::LineComment,
            (Inside::LineComment, '\n') => Inside::Code,
            (Inside::Code, '/') if rest.starts_with("/*") && !rest.starts_with("/*+") => Inside::BlockComment,
            (Inside::BlockComment, '/') if self.previous == '*' => Inside::Code,
            (inside, _) => inside,
        };
        self.previous = c;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "BOOTSTRAP").then(|| "localhost:9092".to_owned())
    }

    #[test]
    fn fills_in_what_is_set_and_leaves_what_is_no_variable() {
        let text = "-- needs ${BOOTSTRAP} and ${OTHER}\nSET 'a' = '${BOOTSTRAP}'; SELECT '$x', '${', '${1}'";
        assert_eq!(
            substitute(text, &lookup).unwrap(),
            "-- needs localhost:9092 and ${OTHER}\nSET 'a' = 'localhost:9092'; SELECT '$x', '${', '${1}'"
        );
    }

    #[test]
    fn an_unset_variable_is_named_with_its_line() {
        let e = substitute("SELECT 1;\n  SET 'a' = '${TOPIC}'", &lookup)
            .unwrap_err()
            .to_string();
        assert!(e.contains("line 2, column 14"), "{e}");
        assert!(e.contains("'TOPIC'") && e.contains("--var TOPIC=VALUE"), "{e}");
    }
}
