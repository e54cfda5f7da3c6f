//! Conditions in JSON paths: `@.a == 1 && (@.b > 'x' || !@.c)`, `@.a in [1, 2]`, `@.name =~ /ab.*/i`.

use super::document::Node;
use super::path::{Step, find, is_definite, steps};
use crate::expr::functions::java_pattern::{Pattern, pattern};
use regex::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A condition on one value.
#[derive(Debug)]
pub enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    /// The path leads somewhere.
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    Matches(Operand, Box<Regex>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A side of a comparison.
#[derive(Debug)]
pub enum Operand {
    /// `@.a[0]`
    Path(Vec<Step>),
    Value(Node<'static>),
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Filter {
    /// Reads what stands in `[?( )]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text };
        let filter = reader.any()?;
        reader.blanks();
        if reader.rest.is_empty() {
            Ok(filter)
        } else {
            Err(format!("'{}' in a filter is not understood", reader.rest))
        }
    }

    /// Whether a value fulfils the condition.
    pub fn accepts(&self, node: &Node<'_>) -> bool {
        match self {
            Self::Or(all) => all.iter().any(|f| f.accepts(node)),
            Self::And(all) => all.iter().all(|f| f.accepts(node)),
            Self::Not(inner) => !inner.accepts(node),
            Self::Exists(operand) => operand.value(node).is_some(),
            Self::Compare(a, comparison, b) => match (a.value(node), b.value(node)) {
                (Some(a), Some(b)) => compare(&a, *comparison, &b),
                (a, b) => *comparison == Comparison::NotEqual && a.is_some() != b.is_some(),
            },
            Self::In(operand, list) => operand.value(node).is_some_and(|value| {
                list.iter()
                    .filter_map(|o| o.value(node))
                    .any(|other| compare(&value, Comparison::Equal, &other))
            }),
            Self::Matches(operand, regex) => operand
                .value(node)
                .is_some_and(|v| v.scalar_text().is_some_and(|text| regex.is_match(&text))),
        }
    }
}

impl Operand {
    fn value<'n, 'a: 'n>(&'n self, node: &'n Node<'a>) -> Option<Cow<'n, Node<'n>>> {
        match self {
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Path(steps) => find(node, steps, is_definite(steps))
                .ok()
                .map(|v| Cow::Owned(v.into_owned())),
        }
    }
}

fn compare(a: &Node<'_>, comparison: Comparison, b: &Node<'_>) -> bool {
    let order = match (a, b) {
        (Node::Number(x), Node::Number(y)) => match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => x.partial_cmp(&y),
            _ => None,
        },
        (Node::Text(x), Node::Text(y)) => Some(x.cmp(y)),
        _ => None,
    };
    let equal = order.map_or(a == b, |o| o == Ordering::Equal);
    match comparison {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.all()?];
        while self.take("||") {
            all.push(self.all()?);
        }
        Ok(Filter::Or(all))
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.one()?];
        while self.take("&&") {
            all.push(self.one()?);
        }
        Ok(Filter::And(all))
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.take("!") {
            return self.one().map(|f| Filter::Not(Box::new(f)));
        }
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err("a ')' is missing in a filter".to_owned())
            };
        }
        let left = self.operand()?;
        for (sign, comparison) in COMPARISONS {
            if self.take(sign) {
                return Ok(Filter::Compare(left, comparison, self.operand()?));
            }
        }
        if self.take("=~") {
            return self.regex(left);
        }
        if self.take("in ") || self.take("IN ") {
            return self.list(left);
        }
        match left {
            Operand::Path(_) => Ok(Filter::Exists(left)),
            Operand::Value(_) => Err("a comparison is missing in a filter".to_owned()),
        }
    }

    fn regex(&mut self, left: Operand) -> Result<Filter, String> {
        self.blanks();
        let wrong = || "a regular expression is written /…/ or /…/i".to_owned();
        let body = self.rest.strip_prefix('/').ok_or_else(wrong)?;
        let end = body.find('/').ok_or_else(wrong)?;
        let (text, after) = (&body[..end], &body[end + 1..]);
        let (flags, after) = after.strip_prefix('i').map_or(("", after), |a| ("(?i)", a));
        self.rest = after;
        match pattern(&format!("^{flags}(?:{text})$")) {
            Pattern::Ready(regex) => Ok(Filter::Matches(left, regex)),
            Pattern::Invalid => Err(format!("/{text}/ is no regular expression")),
            Pattern::Unsupported(what) => Err(format!("/{text}/ has a {what}, which is not supported")),
        }
    }

    fn list(&mut self, left: Operand) -> Result<Filter, String> {
        if !self.take("[") {
            return Err("a list is written [1, 2]".to_owned());
        }
        let mut items = vec![];
        while !self.take("]") {
            items.push(self.operand()?);
            if !self.take(",") && !self.rest.trim_start().starts_with(']') {
                return Err("a ']' is missing in a filter".to_owned());
            }
        }
        Ok(Filter::In(left, items))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.blanks();
        let text = self.rest;
        if let Some(path) = text.strip_prefix('@') {
            let (mut depth, mut end) = (0, path.len());
            for (i, c) in path.char_indices() {
                match c {
                    '[' => depth += 1,
                    ']' if depth == 0 => {
                        end = i;
                        break;
                    }
                    ']' => depth -= 1,
                    _ if depth == 0 && (c.is_whitespace() || "=!<>&|),".contains(c)) => {
                        // the parentheses of a function belong to it
                        if c == ')' && path[..i].ends_with('(') {
                            continue;
                        }
                        end = i;
                        break;
                    }
                    _ => {}
                }
            }
            self.rest = &path[end..];
            return steps(&path[..end]).map(Operand::Path);
        }
        if let Some(quote @ ('\'' | '"')) = text.chars().next() {
            let end = text[1..]
                .find(quote)
                .ok_or_else(|| format!("{text} has no closing quote"))?;
            self.rest = &text[end + 2..];
            return Ok(Operand::Value(Node::Text(text[1..=end].to_owned().into())));
        }
        let end = text
            .find(|c: char| c.is_whitespace() || "=!<>&|),]".contains(c))
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let value = match Node::read(word) {
            Some(Node::Number(digits)) => Node::Number(digits.into_owned().into()),
            Some(Node::Boolean(v)) => Node::Boolean(v),
            Some(Node::Null) => Node::Null,
            _ => return Err(format!("'{word}' in a filter is neither a path (@.a) nor a value")),
        };
        self.rest = rest;
        Ok(Operand::Value(value))
    }
}
