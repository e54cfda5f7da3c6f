//! JSON paths in the notation of Jayway's JsonPath, which Flink reads them with: `$.a['b c'][0]`, `[*]`, `..name`,
//! `[1:3]`, `[0,2]`, `['x','y']`, `[?(@.price > 2)]`, `.length()`, `.keys()`; `lax` or `strict` before it.
//!
//! A path that can only mean one place (no wildcard, no slice, no search) is *definite*: it finds a value or is missing.
//! Any other finds an array of values. Missing is an error in strict mode, which also holds where no mode is written.

use super::document::Node;
use super::filter::Filter;
use std::borrow::Cow;

/// A path ready to be looked up.
#[derive(Debug)]
pub struct Path {
    /// What is missing is NULL rather than an error.
    pub lax: bool,
    steps: Vec<Step>,
    definite: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Fields of an object; several make an object of their own at the end.
    Fields(Vec<String>),
    /// All fields or elements.
    Any,
    /// Elements counted from 0, or from the end if negative.
    Indexes(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    /// This value and all below it.
    Descend,
    Filter(Filter),
    Length,
    Keys,
}

/// The path leads to no value.
#[derive(Debug)]
pub struct Missing;

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_start();
        let mode = |word: &str| {
            let rest = trimmed.get(..word.len()).filter(|w| w.eq_ignore_ascii_case(word));
            let rest = rest.map(|_| &trimmed[word.len()..])?;
            rest.starts_with(char::is_whitespace).then(|| rest.trim_start())
        };
        let (lax, body) = match (mode("lax"), mode("strict")) {
            (Some(body), _) => (true, body),
            (_, Some(body)) => (false, body),
            _ => (false, text),
        };
        let body = body.trim();
        let steps = match body.strip_prefix(['$', '@']) {
            Some(rest) => steps(rest),
            None => steps(&format!(".{body}")),
        }
        .map_err(|problem| {
            format!("'{text}' is no JSON path: {problem}; write for example $.a.b, $.a[0] or $['a b']")
        })?;
        Ok(Self {
            lax,
            definite: is_definite(&steps),
            steps,
        })
    }

    /// The value at this path, or the array of all values where the path is not definite.
    ///
    /// # Errors
    /// If a definite path, or the definite beginning of another, leads nowhere and the mode is strict.
    pub fn find<'n, 'a>(&self, root: &'n Node<'a>) -> Result<Cow<'n, Node<'a>>, Missing> {
        match find(root, &self.steps, self.definite) {
            Err(Missing) if self.lax && self.definite => Ok(Cow::Owned(Node::Null)),
            Err(Missing) if self.lax => Ok(Cow::Owned(Node::Array(vec![]))),
            found => found,
        }
    }
}

/// Whether the steps can only lead to one place.
pub(super) fn is_definite(steps: &[Step]) -> bool {
    let last = steps.len().saturating_sub(1);
    steps.iter().enumerate().all(|(i, step)| match step {
        Step::Fields(names) => names.len() == 1 || i == last,
        Step::Indexes(indexes) => indexes.len() == 1,
        Step::Length | Step::Keys => true,
        _ => false,
    })
}

/// What `steps` find below `root`.
pub(super) fn find<'n, 'a>(root: &'n Node<'a>, steps: &[Step], definite: bool) -> Result<Cow<'n, Node<'a>>, Missing> {
    let (steps, function) = match steps {
        [steps @ .., function @ (Step::Length | Step::Keys)] => (steps, Some(function)),
        steps => (steps, None),
    };
    let mut found = vec![];
    walk(Cow::Borrowed(root), steps, true, &mut found)?;
    let value = if definite {
        found.into_iter().next().ok_or(Missing)?
    } else {
        Cow::Owned(Node::Array(found.into_iter().map(Cow::into_owned).collect()))
    };
    match function {
        None => Ok(value),
        Some(Step::Length) => match value.as_ref() {
            Node::Array(items) => Ok(Cow::Owned(Node::Number(items.len().to_string().into()))),
            Node::Object(fields) => Ok(Cow::Owned(Node::Number(fields.len().to_string().into()))),
            _ => Ok(Cow::Owned(Node::Null)),
        },
        Some(_) => match value.into_owned() {
            Node::Object(fields) => {
                let keys = fields.into_iter().map(|(key, _)| Node::Text(key));
                Ok(Cow::Owned(Node::Array(keys.collect())))
            }
            _ => Ok(Cow::Owned(Node::Null)),
        },
    }
}

/// Adds all values that `steps` lead to; `one`: the steps so far were definite, so that a dead end is missing.
fn walk<'n, 'a>(
    node: Cow<'n, Node<'a>>,
    steps: &[Step],
    one: bool,
    found: &mut Vec<Cow<'n, Node<'a>>>,
) -> Result<(), Missing> {
    let [step, rest @ ..] = steps else {
        found.push(node);
        return Ok(());
    };
    let dead_end = || if one { Err(Missing) } else { Ok(()) };
    // only the merge of several fields makes new values, and nothing comes behind it
    let Cow::Borrowed(node) = node else {
        return dead_end();
    };
    match (step, node) {
        (Step::Fields(names), Node::Object(fields)) => {
            let value = |name: &str| fields.iter().find(|(k, _)| k == name).map(|(_, v)| v);
            if let [name] = names.as_slice() {
                return match value(name) {
                    Some(value) => walk(Cow::Borrowed(value), rest, one, found),
                    None => dead_end(),
                };
            }
            if rest.is_empty() {
                let picked = names
                    .iter()
                    .filter_map(|n| Some((Cow::Owned(n.clone()), value(n)?.clone())));
                found.push(Cow::Owned(Node::Object(picked.collect())));
                return Ok(());
            }
            names
                .iter()
                .filter_map(|n| value(n))
                .try_for_each(|v| walk(Cow::Borrowed(v), rest, false, found))
        }
        (Step::Any, Node::Object(fields)) => fields
            .iter()
            .try_for_each(|(_, v)| walk(Cow::Borrowed(v), rest, false, found)),
        (Step::Any, Node::Array(items)) => items
            .iter()
            .try_for_each(|v| walk(Cow::Borrowed(v), rest, false, found)),
        (Step::Indexes(indexes), Node::Array(items)) => {
            let one = one && indexes.len() == 1;
            for index in indexes {
                let at = if *index < 0 { index + items.len() as i64 } else { *index };
                match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                    Some(item) => walk(Cow::Borrowed(item), rest, one, found)?,
                    None if one => return Err(Missing),
                    None => {}
                }
            }
            Ok(())
        }
        (Step::Slice(from, to), Node::Array(items)) => {
            let length = items.len() as i64;
            let place = |at: i64| if at < 0 { (at + length).max(0) } else { at.min(length) };
            let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
            let part = items.get(from as usize..to as usize).unwrap_or_default();
            part.iter().try_for_each(|v| walk(Cow::Borrowed(v), rest, false, found))
        }
        (Step::Descend, _) => {
            walk(Cow::Borrowed(node), rest, false, found)?;
            let below: Box<dyn Iterator<Item = &'n Node<'a>>> = match node {
                Node::Array(items) => Box::new(items.iter()),
                Node::Object(fields) => Box::new(fields.iter().map(|(_, v)| v)),
                _ => return Ok(()),
            };
            for child in below {
                walk(Cow::Borrowed(child), steps, false, found)?;
            }
            Ok(())
        }
        (Step::Filter(filter), Node::Array(items)) => items
            .iter()
            .filter(|item| filter.accepts(item))
            .try_for_each(|v| walk(Cow::Borrowed(v), rest, false, found)),
        (Step::Filter(filter), Node::Object(_)) if filter.accepts(node) => {
            walk(Cow::Borrowed(node), rest, false, found)
        }
        (Step::Any | Step::Filter(_), _) => Ok(()),
        _ => dead_end(),
    }
}

/// The steps of a path behind its `$`.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = vec![];
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Descend);
            rest = after;
            if rest.is_empty() {
                return Err("it ends with '..'".to_owned());
            }
            if !rest.starts_with('[') {
                rest = name(rest, &mut steps)?;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = if after.starts_with('[') {
                after
            } else {
                name(after, &mut steps)?
            };
        } else if rest.starts_with('[') {
            let end = closing(rest).ok_or_else(|| format!("'{rest}' has no closing ']'"))?;
            steps.push(bracket(rest[1..end].trim())?);
            rest = &rest[end + 1..];
        } else {
            return Err(format!("'{rest}' must start with '.' or '['"));
        }
    }
    let functions = steps.iter().filter(|s| matches!(s, Step::Length | Step::Keys)).count();
    if functions > 1 || functions == 1 && !matches!(steps.last(), Some(Step::Length | Step::Keys)) {
        return Err("a function must be its end".to_owned());
    }
    Ok(steps)
}

/// Reads a name, `*` or a function behind a dot and gives the rest.
fn name<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, String> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    steps.push(match word {
        "" => return Err("a name is missing".to_owned()),
        "*" => Step::Any,
        "length()" | "size()" => Step::Length,
        "keys()" => Step::Keys,
        function if function.ends_with(')') => {
            return Err(format!(
                "the function {function} is not supported, only length(), size() and keys() are"
            ));
        }
        word if word.contains(char::is_whitespace) => {
            return Err(format!("a name with blanks is written ['{word}']"));
        }
        word => Step::Fields(vec![word.to_owned()]),
    });
    Ok(rest)
}

/// Where the bracket that opens `text` closes, quotes and inner brackets aside.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return (c == ']').then_some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// What stands between brackets.
fn bracket(inside: &str) -> Result<Step, String> {
    if inside == "*" {
        return Ok(Step::Any);
    }
    if let Some(filter) = inside.strip_prefix('?') {
        let filter = filter.trim();
        let filter = filter.strip_prefix('(').and_then(|f| f.strip_suffix(')'));
        let filter = filter.ok_or("a filter is written [?(@.name == 'x')]")?;
        return Filter::read(filter).map(Step::Filter);
    }
    if inside.starts_with(['\'', '"']) {
        return quoted_names(inside).map(Step::Fields);
    }
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| format!("'{text}' is no position; names are written in quotes, ['{text}']"))
    };
    if let Some((from, to)) = inside.split_once(':') {
        let side = |text: &str| {
            let text = text.trim();
            if text.is_empty() {
                Ok(None)
            } else {
                number(text).map(Some)
            }
        };
        return Ok(Step::Slice(side(from)?, side(to)?));
    }
    inside
        .split(',')
        .map(number)
        .collect::<Result<_, _>>()
        .map(Step::Indexes)
}

/// `'a', 'b'`
fn quoted_names(text: &str) -> Result<Vec<String>, String> {
    let mut names = vec![];
    let mut rest = text.trim();
    loop {
        let mut chars = rest.char_indices();
        let Some((_, quote @ ('\'' | '"'))) = chars.next() else {
            return Err(format!("'{rest}' must be in quotes"));
        };
        let mut name = String::new();
        let end = loop {
            match chars.next() {
                Some((i, c)) if c == quote => break i + 1,
                Some((_, '\\')) => name.extend(chars.next().map(|(_, c)| c)),
                Some((_, c)) => name.push(c),
                None => return Err(format!("{rest} has no closing quote")),
            }
        };
        names.push(name);
        rest = rest[end..].trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => return Ok(names),
            None => return Err(format!("'{rest}' behind a name")),
        }
    }
}
