//! A script as tokens: comments removed, `/*+ OPTIONS(…) */` hints noted, statements cut apart.
//!
//! A hint is a comment to sqlparser, so it is taken out here and filed under the place of the word before it, which is
//! the last part of the table's name; the binder asks [`Hints::of`] with the name's span.

use super::dialect::FlinkDialect;
use crate::error::{SqlError, SqlResult, Step};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};
use std::collections::BTreeMap;

/// Table options by the place of the last word of the table's name.
#[derive(Debug, Clone, Default)]
pub struct Hints(BTreeMap<(u64, u64), Vec<(String, String)>>);

impl Hints {
    /// The options of the table whose name's last word starts at `location`.
    pub fn of(&self, location: Location) -> &[(String, String)] {
        self.0.get(&(location.line, location.column)).map_or(&[], Vec::as_slice)
    }
}

/// Tokens of one statement, never empty, without comments and the semicolon.
pub type StatementTokens = Vec<TokenWithSpan>;

/// Cuts `text` into statements.
///
/// # Errors
/// If a string, name or comment is not closed, or a hint is not understood.
pub fn split(text: &str) -> SqlResult<(Vec<StatementTokens>, Hints)> {
    let dialect = FlinkDialect::default();
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|e| tokenizer_error(&e))?;
    let (tokens, hints) = without_comments(tokens)?;
    Ok((statements(tokens).0, hints))
}

fn tokenizer_error(error: &TokenizerError) -> SqlError {
    SqlError::new(Step::Syntax, error.message.clone()).at(error.location)
}

fn without_comments(tokens: Vec<TokenWithSpan>) -> SqlResult<(Vec<TokenWithSpan>, Hints)> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut hints = Hints::default();
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                if let Some(hint) = comment.strip_prefix('+') {
                    let before = kept.last().map(|t| t.span.start);
                    read_hint(hint, before, &mut hints).map_err(|e| e.at_span(token.span))?;
                }
            }
            Token::Whitespace(_) => {}
            Token::DoubleQuotedString(_) | Token::Char('"') => {
                return Err(SqlError::new(Step::Syntax, "Encountered \"\\\"\"")
                    .at_span(token.span)
                    .remedy("write strings in single quotes ('…') and names in backquotes (`…`)"));
            }
            _ => kept.push(token),
        }
    }
    Ok((kept, hints))
}

fn read_hint(hint: &str, before: Option<Location>, hints: &mut Hints) -> SqlResult<()> {
    let text = hint.trim();
    let upper = text.to_ascii_uppercase();
    let (Some(place), Some(inner)) = (
        before,
        upper
            .strip_prefix("OPTIONS")
            .map(|rest| text[text.len() - rest.len()..].trim())
            .and_then(|r| r.strip_prefix('(')?.strip_suffix(')')),
    ) else {
        return Err(
            SqlError::new(Step::Unsupported, format!("the hint '{text}' is not known"))
                .remedy("OPTIONS('key' = 'value') behind a table's name is supported; other hints are not yet"),
        );
    };
    let dialect = FlinkDialect::default();
    let tokens: Vec<Token> = Tokenizer::new(&dialect, inner)
        .tokenize()
        .map_err(|e| SqlError::new(Step::Syntax, format!("in the hint: {}", e.message)))?
        .into_iter()
        .filter(|t| !matches!(t, Token::Whitespace(_)))
        .collect();
    let mut options = vec![];
    for pair in tokens.split(|t| *t == Token::Comma) {
        let [
            Token::SingleQuotedString(key),
            Token::Eq,
            Token::SingleQuotedString(value),
        ] = pair
        else {
            return Err(
                SqlError::new(Step::Syntax, format!("the hint '{text}' is not understood"))
                    .remedy("write OPTIONS('key' = 'value', 'key' = 'value')"),
            );
        };
        options.push((key.clone(), value.clone()));
    }
    hints.0.insert((place.line, place.column), options);
    Ok(())
}

/// Whether the last statement of `text` has its semicolon. The error says whether a string, name or comment is still open,
/// so that more text may follow.
pub fn is_complete(text: &str) -> Result<bool, bool> {
    let dialect = FlinkDialect::default();
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|e| {
        ["Unterminated", "Unexpected EOF", "Expected close delimiter"]
            .iter()
            .any(|w| e.message.contains(w))
    })?;
    let words: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    let ends = words.last().is_some_and(|t| t.token == Token::SemiColon);
    let (_, is_open) = statements(words);
    Ok(ends && !is_open)
}

/// Cuts at semicolons, except inside of a statement set; and whether the last statement is a set that is still open.
fn statements(tokens: Vec<TokenWithSpan>) -> (Vec<StatementTokens>, bool) {
    let mut all = vec![];
    let mut current: StatementTokens = vec![];
    let mut cases = 0_usize;
    for token in tokens {
        if token.token == Token::SemiColon {
            if !current.is_empty() && !inside_set(&current, cases) {
                all.push(std::mem::take(&mut current));
                cases = 0;
            } else if !current.is_empty() {
                current.push(token);
            }
            continue;
        }
        if is_word(&token, "CASE") {
            cases += 1;
        } else if is_word(&token, "END") && cases > 0 {
            cases -= 1;
        }
        current.push(token);
    }
    let is_open = !current.is_empty() && inside_set(&current, cases);
    if !current.is_empty() {
        all.push(current);
    }
    (all, is_open)
}

/// Whether the statement so far is a set whose `END` has not come.
fn inside_set(tokens: &[TokenWithSpan], open_cases: usize) -> bool {
    let is_set = tokens.len() >= 3
        && (1..tokens.len().min(6)).any(|i| is_word(&tokens[i - 1], "STATEMENT") && is_word(&tokens[i], "SET"))
        && tokens.iter().take(7).any(|t| is_word(t, "BEGIN"));
    let last = tokens.len() - 1;
    let closes = open_cases == 0 && is_word(&tokens[last], "END") && closes_set(tokens);
    is_set && !closes
}

/// Whether the last `END` is that of the set: every `CASE` before it has its own.
fn closes_set(tokens: &[TokenWithSpan]) -> bool {
    let count = |word| tokens.iter().filter(|t| is_word(t, word)).count();
    count("END") > count("CASE")
}

/// Whether this is the bare word `text`.
pub fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let (statements, _) = split(text).unwrap();
        statements
            .iter()
            .map(|s| s.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn semicolons_in_strings_comments_and_sets_do_not_cut() {
        assert_eq!(
            texts("SELECT ';' -- a;b\n; /* c;d */ SELECT 2;;"),
            ["SELECT ';'", "SELECT 2"]
        );
        assert_eq!(
            texts("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN b THEN 1 END FROM t; INSERT INTO b VALUES (1); END; SELECT 1").len(),
            2
        );
        assert_eq!(
            texts("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END; SELECT 1").len(),
            2
        );
    }

    #[test]
    fn hints_belong_to_the_word_before_them() {
        let (statements, hints) = split("SELECT * FROM db.t /*+ OPTIONS('a'='1', 'b' = 'x,y') */ AS u").unwrap();
        let name = &statements[0][5];
        assert_eq!(name.token.to_string(), "t");
        assert_eq!(
            hints.of(name.span.start),
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x,y".to_owned())]
        );
        assert!(hints.of(statements[0][0].span.start).is_empty());
        assert!(split("SELECT /*+ STATE_TTL('t'='1d') */ * FROM t").is_err());
    }
}
