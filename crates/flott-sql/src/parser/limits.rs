//! How deep and how large a statement may be: everything after the tokens walks trees by recursion.
//!
//! The limits are stated here and kept where the thing is counted: nesting by sqlparser as it goes down (parentheses,
//! calls, NOT, CASE, sub-queries), types by [`super::types`], relations by the binder, and chains by [`check`] on the
//! tokens, since sqlparser reads `a + a + a` in a loop and makes a tree as deep as that is long. A chain is of operators that bind
//! alike; a looser operator ends the chains of tighter ones, a comma or the word of another clause ends all but UNION's, and
//! parentheses keep what is around them. [`crate::stack`] makes these depths safe on every thread.

use super::tokens::StatementTokens;
use crate::error::{SqlError, SqlResult, Step};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Parentheses, calls, CASEs and sub-queries in each other, as sqlparser counts.
pub(crate) const MAX_NESTING: usize = 150;
/// Operators that may hang below each other; `flott-fuzz` plans as many in a build that is hardly optimised, where a level
/// takes most (`tests/it/bombs.rs`).
const MAX_CHAIN: usize = 300;
/// The same of AND and OR, whose chains are deep in the parser's tree only.
const MAX_TERMS: usize = 1000;
/// Types in each other.
pub(crate) const MAX_TYPE_NESTING: usize = 64;
/// Views in each other.
pub(crate) const MAX_VIEW_NESTING: usize = 64;
/// How often a query may be read: one that stands in several parentheses is read as a table in them once more for each if there is
/// an error inside, and queries of this kind in each other multiply that.
const MAX_READINGS: usize = 4096;
/// Tables and parts of queries in a statement, once views and common table expressions are put in: using one twice in the
/// next one, and that twice again, doubles them each time.
pub(crate) const MAX_RELATIONS: usize = 10_000;

/// Kinds of chains, loosest first.
const UNION: usize = 0;
const OR: usize = 1;
const AND: usize = 2;
const COMPARISON: usize = 3;
const SUM: usize = 4;
const PRODUCT: usize = 5;
const POSTFIX: usize = 6;
const KINDS: usize = 7;

/// Lengths of the open chains inside one pair of parentheses.
type Chains = [usize; KINDS];

/// What is around an open parenthesis.
struct Around {
    chains: Chains,
    /// How often what is in it may be read, for what is around it once.
    readings: usize,
}

/// Depth of chains inside each other, in parts of the limits.
fn depth(chains: &Chains) -> usize {
    let weight = |kind: usize| if matches!(kind, AND | OR) { MAX_CHAIN } else { MAX_TERMS };
    chains.iter().enumerate().map(|(kind, n)| n * weight(kind)).sum()
}

/// Refuses statements whose trees would be too deep.
///
/// # Errors
/// At the operator that is one too many.
pub fn check(tokens: &StatementTokens) -> SqlResult<()> {
    let mut around: Vec<Around> = vec![];
    // Parentheses without anything between them, and how often what is inside may be read.
    let (mut opened, mut readings) = (0, 1);
    let mut chains: Chains = [0; KINDS];
    let mut depth_around = 0;
    for token in tokens {
        let opened_before = opened;
        opened = match token.token {
            Token::LParen => opened + 1,
            _ => 0,
        };
        let kind = match &token.token {
            Token::LParen | Token::LBracket => {
                if token.token == Token::LBracket {
                    chains[POSTFIX] += 1;
                    within(depth_around + depth(&chains), token)?;
                }
                depth_around += depth(&chains);
                around.push(Around { chains, readings: 1 });
                chains = [0; KINDS];
                continue;
            }
            Token::RParen | Token::RBracket => {
                if let Some(outer) = around.pop() {
                    chains = outer.chains;
                    depth_around -= depth(&chains);
                    readings /= outer.readings;
                }
                continue;
            }
            Token::Comma | Token::SemiColon => {
                chains = [0; KINDS];
                continue;
            }
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_ascii_uppercase().as_str() {
                "UNION" | "INTERSECT" | "EXCEPT" => UNION,
                "OR" => OR,
                "AND" => AND,
                "IS" | "BETWEEN" | "LIKE" | "SIMILAR" | "IN" => COMPARISON,
                "SELECT" | "WITH" | "VALUES" if opened_before > 1 => {
                    if let Some(innermost) = around.last_mut() {
                        innermost.readings = opened_before;
                        readings *= opened_before;
                    }
                    if readings > MAX_READINGS {
                        return Err(too_many_parentheses(token));
                    }
                    chains[UNION + 1..].fill(0);
                    continue;
                }
                "SELECT" | "FROM" | "WHERE" | "GROUP" | "HAVING" | "WHEN" | "THEN" | "ELSE" | "INSERT" => {
                    chains[UNION + 1..].fill(0);
                    continue;
                }
                "JOIN" => UNION,
                _ => continue,
            },
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq | Token::DoubleEq => COMPARISON,
            Token::Plus | Token::Minus | Token::StringConcat => SUM,
            Token::Mul | Token::Div | Token::Mod => PRODUCT,
            Token::Period | Token::DoubleColon => POSTFIX,
            _ => continue,
        };
        chains[kind] += 1;
        chains[kind + 1..].fill(0);
        within(depth_around + depth(&chains), token)?;
    }
    Ok(())
}

/// Refuses a depth beyond the limit, which `token` has reached.
fn within(depth: usize, token: &TokenWithSpan) -> SqlResult<()> {
    if depth <= MAX_CHAIN * MAX_TERMS {
        return Ok(());
    }
    let message = format!(
        "the statement is nested too deeply: more than {MAX_CHAIN} operators ({MAX_TERMS} of AND and OR) hang below each other"
    );
    Err(SqlError::new(Step::Syntax, message)
        .at_span(token.span)
        .remedy("use IN (…) for many alternatives, or compute parts in a view"))
}

fn too_many_parentheses(token: &TokenWithSpan) -> SqlError {
    let message = "this query stands in too many parentheses, in queries that do so, too";
    SqlError::new(Step::Syntax, message)
        .at_span(token.span)
        .remedy("leave out parentheses directly inside others, or name parts of the statement, in WITH or in views")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::tokens::split;

    fn is_refused(text: &str) -> bool {
        let (statements, _) = split(text).unwrap();
        statements.iter().any(|s| check(s).is_err())
    }

    #[test]
    fn chains_count_where_they_hang_below_each_other() {
        let terms = |n: usize| vec!["a"; n];
        assert!(!is_refused(&format!("SELECT {}", terms(MAX_CHAIN).join(" + "))));
        assert!(is_refused(&format!("SELECT {}", terms(MAX_CHAIN + 2).join(" + "))));
        // A looser operator ends a chain, and so does a comma.
        assert!(!is_refused(&format!(
            "SELECT {}",
            vec!["a = b"; MAX_TERMS - 10].join(" AND ")
        )));
        assert!(is_refused(&format!(
            "SELECT {}",
            vec!["a = b"; MAX_TERMS + 2].join(" OR ")
        )));
        assert!(!is_refused(&format!("SELECT {}", vec!["a + b * c"; 5_000].join(", "))));
        let branches = vec!["WHEN a = 1 OR b = 2 THEN c + 1"; 5_000].join(" ");
        assert!(!is_refused(&format!("SELECT CASE {branches} END FROM t")));
        // Parentheses keep what is around them.
        let sum = terms(MAX_CHAIN / 2).join(" + ");
        assert!(is_refused(&format!("SELECT {sum} + ({sum} + ({sum}))")));
        assert!(is_refused(&format!("SELECT a{}", "[1]".repeat(MAX_CHAIN + 1))));
        assert!(is_refused(&vec!["SELECT 1"; MAX_CHAIN + 2].join(" UNION ALL ")));
    }

    #[test]
    fn parentheses_around_queries_multiply_in_each_other_only() {
        let nested = |open: &str, n: usize| {
            let closed = ")".repeat(open.matches('(').count() * n);
            format!("SELECT * FROM {}t{closed}", open.repeat(n))
        };
        assert!(!is_refused(&nested("((SELECT * FROM ", 12)));
        assert!(is_refused(&nested("((SELECT * FROM ", 13)));
        assert!(is_refused(&nested("((((SELECT * FROM ", 7)));
        assert!(!is_refused(&nested("(SELECT * FROM ", 100)));
        assert!(!is_refused(&format!("SELECT {}", vec!["((SELECT 1))"; 500].join(", "))));
    }
}
