//! Where the shell's text comes from: the line editor of a terminal, or standard input.
//!
//! The editor keeps its history in a file and completes keywords, functions, and the tables and columns that the session
//! has at that moment ([`Names`]).

use super::is_whole;
use anyhow::{Context as _, Result};
use flott_sql::script::Session;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

const PROMPT: &str = "flott> ";
/// What was typed is kept in this file of the home folder.
const HISTORY: &str = ".flott-sql-history";
/// So many statements are kept.
const HISTORY_LINES: usize = 1000;

/// Words that statements begin with or are built of.
const KEYWORDS: &[&str] = &[
    "ADD",
    "AFTER",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "CATALOG",
    "CATALOGS",
    "CLEAR",
    "COLUMNS",
    "COMMENT",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT",
    "DATABASE",
    "DATABASES",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DRAIN",
    "DROP",
    "ELSE",
    "END",
    "ENFORCED",
    "EXCLUDING",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "EXTENDED",
    "FALSE",
    "FETCH",
    "FILTER",
    "FIRST",
    "FOR",
    "FROM",
    "FUNCTIONS",
    "GROUP",
    "HAVING",
    "HELP",
    "IF",
    "IN",
    "INCLUDING",
    "INNER",
    "INSERT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOB",
    "JOBS",
    "JOIN",
    "KEY",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "METADATA",
    "MODIFY",
    "NEXT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "OVER",
    "OVERWRITING",
    "PARTITION",
    "PARTITIONED",
    "PRIMARY",
    "QUIT",
    "RENAME",
    "RESET",
    "RESTRICT",
    "ROW",
    "ROWS",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "STATEMENT",
    "STOP",
    "TABLE",
    "TABLES",
    "TEMPORARY",
    "THEN",
    "TRUE",
    "UNION",
    "UNNEST",
    "USE",
    "VALUES",
    "VIEW",
    "VIEWS",
    "VIRTUAL",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WITH",
];

/// What came in.
pub enum Line {
    /// One or more statements, or a command.
    Text(String),
    /// A line that was given up.
    Nothing,
    /// No more.
    End,
}

/// Where text comes from.
pub enum Lines {
    /// A terminal.
    Terminal {
        /// Its editor.
        editor: Box<Editor<Names, FileHistory>>,
        /// Where its history is kept.
        history: Option<PathBuf>,
    },
    /// Standard input.
    Input,
}

impl Lines {
    /// The editor where standard input is a terminal.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub fn open(history: Option<PathBuf>) -> Result<Self> {
        if !std::io::stdin().is_terminal() {
            return Ok(Self::Input);
        }
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)
            .context("the history cannot be kept")?
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).context("the terminal cannot be used")?;
        editor.set_helper(Some(Names::default()));
        let history = history.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(HISTORY)));
        if let Some(file) = history.as_ref().filter(|f| f.exists())
            && let Err(error) = editor.load_history(file)
        {
            eprintln!("warning: the history {} cannot be read: {error}", file.display());
        }
        println!(
            "Flott {} — HELP; lists what can be typed, QUIT; ends",
            env!("CARGO_PKG_VERSION")
        );
        Ok(Self::Terminal {
            editor: Box::new(editor),
            history,
        })
    }

    /// Takes over what the session has now, for completion.
    pub fn know(&mut self, session: &Session) {
        if let Self::Terminal { editor, .. } = self
            && let Some(names) = editor.helper_mut()
        {
            names.words = session.names();
        }
    }

    /// Clears the screen.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn clear(&mut self) -> Result<()> {
        match self {
            Self::Terminal { editor, .. } => editor.clear_screen().context("the terminal cannot be written"),
            Self::Input => Ok(()),
        }
    }

    /// The next statement.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn next(&mut self) -> Result<Line> {
        let Self::Terminal { editor, history } = self else {
            return next_of_input();
        };
        let read = editor.readline(PROMPT);
        match read {
            Ok(text) => {
                if let Some(file) = history
                    && let Err(error) = editor.append_history(file)
                {
                    eprintln!("warning: the history {} cannot be written: {error}", file.display());
                    *history = None;
                }
                Ok(Line::Text(text))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Nothing),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error).context("the terminal cannot be read"),
        }
    }
}

/// Lines up to the end of a statement; what is left at the end counts as one.
fn next_of_input() -> Result<Line> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock();
    loop {
        let before = text.len();
        let read = input.read_line(&mut text).context("standard input cannot be read")?;
        if read == 0 {
            return Ok(match text.trim().is_empty() {
                true => Line::End,
                false => Line::Text(text),
            });
        }
        if text.trim().is_empty() {
            text.clear();
        } else if (before == 0 || text[before..].contains(';')) && is_whole(&text) {
            return Ok(Line::Text(text));
        }
    }
}

/// What can be completed.
#[derive(Debug, Default)]
pub struct Names {
    words: Vec<String>,
}

impl Names {
    /// Words that begin as `start` does; keywords and functions in its case.
    fn fitting(&self, start: &str) -> Vec<String> {
        let upper = start.to_uppercase();
        let lower_wanted = start.chars().all(|c| !c.is_uppercase());
        let keywords = KEYWORDS
            .iter()
            .copied()
            .chain(flott_sql::expr::function_names())
            .chain(flott_sql::expr::aggregate_names())
            .filter(|k| k.starts_with(&upper) && k.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .map(|k| match lower_wanted {
                true => k.to_lowercase(),
                false => k.to_owned(),
            });
        let own = self
            .words
            .iter()
            .filter(|w| w.to_uppercase().starts_with(&upper))
            .cloned();
        let mut found: Vec<String> = own.chain(keywords).collect();
        found.sort();
        found.dedup();
        found
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let start = line[..pos]
            .rfind(|c| !is_part(c))
            .map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
        match start == pos {
            true => Ok((pos, vec![])),
            false => Ok((start, self.fitting(&line[start..pos]))),
        }
    }
}

impl Validator for Names {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(ctx.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_follow_the_case_and_names_keep_theirs() {
        let names = Names {
            words: vec!["Selected".to_owned()],
        };
        assert_eq!(names.fitting("sel"), ["Selected", "select"]);
        assert_eq!(names.fitting("SELE"), ["SELECT", "Selected"]);
        assert!(names.fitting("upp").contains(&"upper".to_owned()));
    }
}
