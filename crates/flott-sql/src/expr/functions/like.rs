//! `LIKE` and `SIMILAR TO`. Without ESCAPE no character escapes; `SIMILAR TO` is a regular expression in which `%` and
//! `_` are wildcards too, matched against the whole string.

use super::entry;
use super::java_pattern::{Pattern, pattern};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::Strings;
use arrow_array::BooleanArray;
use flott_core::{LogicalType, TypeKind};
use memchr::memmem::Finder;
use regex::Regex;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "LIKE",
        "STRING LIKE pattern STRING [ESCAPE STRING]",
        infer_like,
        build_like,
    ),
    entry(
        "SIMILAR TO",
        "STRING SIMILAR TO pattern STRING",
        infer_like,
        build_similar,
    ),
];

fn infer_like(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, if args.name == "LIKE" { 3 } else { 2 })?;
    (0..args.len()).try_for_each(|i| args.string(i))?;
    if let Some(escape) = args.constant_text(2)
        && escape.chars().count() != 1
    {
        return Err(Refusal::Constant(format!("ESCAPE takes one character, got '{escape}'")));
    }
    if args.name == "SIMILAR TO"
        && let Some(text) = args.constant_text(1)
        && let Err(problem) = similar(text)
    {
        return Err(Refusal::Constant(problem));
    }
    Ok(args.result(TypeKind::Boolean))
}

/// A LIKE pattern, in the cheapest form that matches it.
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(Box<Finder<'static>>),
    General(Vec<Piece>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Many,
}

impl Matcher {
    fn new(pattern: &str, escape: Option<char>) -> Self {
        let mut pieces = vec![];
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                c if Some(c) == escape => Piece::Char(chars.next().unwrap_or(c)),
                '%' => Piece::Many,
                '_' => Piece::One,
                c => Piece::Char(c),
            });
        }
        let text = |pieces: &[Piece]| {
            let chars = pieces.iter().map(|p| match p {
                Piece::Char(c) => Some(*c),
                _ => None,
            });
            chars.collect::<Option<String>>()
        };
        let simple = match pieces.as_slice() {
            [Piece::Many, middle @ .., Piece::Many] => {
                text(middle).map(|t| Self::Contains(Box::new(Finder::new(t.as_bytes()).into_owned())))
            }
            [Piece::Many, rest @ ..] => text(rest).map(Self::Suffix),
            [start @ .., Piece::Many] => text(start).map(Self::Prefix),
            all => text(all).map(Self::Exact),
        };
        simple.unwrap_or(Self::General(pieces))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(t) => text == t,
            Self::Prefix(t) => text.starts_with(t.as_str()),
            Self::Suffix(t) => text.ends_with(t.as_str()),
            Self::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Self::General(pieces) => general(pieces, text),
        }
    }
}

/// Wildcards by going back to the last `%`: linear but for patterns with many of them.
fn general(pieces: &[Piece], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if let Some(Piece::Many) = pieces.get(at) {
            retry = Some((at, rest.clone()));
            at += 1;
            continue;
        }
        let mut ahead = rest.clone();
        let next = ahead.next();
        let fits = match (pieces.get(at), next) {
            (None, None) => return true,
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Char(c)), Some(d)) => *c == d,
            _ => false,
        };
        if fits {
            at += 1;
            rest = ahead;
            continue;
        }
        let Some((many, mut from)) = retry.take() else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        at = many + 1;
        rest = from.clone();
        retry = Some((many, from));
    }
}

fn build_like(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        let escapes = args.get(2).map(Strings::new).transpose()?;
        let mut known: Option<(&str, Option<char>, Matcher)> = None;
        let mut result = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut matches = || {
                let (text, pattern) = (text.get(row)?, patterns.get(row)?);
                let escape = match &escapes {
                    Some(escapes) => escapes.get(row)?.chars().next(),
                    None => None,
                };
                let same = known.as_ref().is_some_and(|(p, e, _)| *p == pattern && *e == escape);
                if !same {
                    known = Some((pattern, escape, Matcher::new(pattern, escape)));
                }
                known.as_ref().map(|(_, _, matcher)| matcher.matches(text))
            };
            result.push(matches());
        }
        Ok(Arc::new(BooleanArray::from(result)))
    }))
}

fn similar(text: &str) -> Result<Option<Regex>, String> {
    let mut java = String::from("(?s)\\A(?:");
    for c in text.chars() {
        match c {
            '%' => java.push_str(".*"),
            '_' => java.push('.'),
            c => java.push(c),
        }
    }
    java.push_str(")\\z");
    match pattern(&java) {
        Pattern::Ready(regex) => Ok(Some(*regex)),
        Pattern::Invalid => Err(format!("'{text}' is no pattern")),
        Pattern::Unsupported(what) => Err(format!("'{text}' has a {what}, which cannot be matched in linear time")),
    }
}

fn build_similar(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        let mut known: Option<(&str, Option<Regex>)> = None;
        let mut result = Vec::with_capacity(rows);
        for row in 0..rows {
            let (Some(text), Some(pattern)) = (text.get(row), patterns.get(row)) else {
                result.push(None);
                continue;
            };
            if known.as_ref().is_none_or(|(p, _)| *p != pattern) {
                let regex = similar(pattern).map_err(|problem| ExprError::Value {
                    function: "SIMILAR TO",
                    problem,
                })?;
                known = Some((pattern, regex));
            }
            result.push(known.as_ref().and_then(|(_, r)| r.as_ref()).map(|r| r.is_match(text)));
        }
        Ok(Arc::new(BooleanArray::from(result)))
    }))
}
