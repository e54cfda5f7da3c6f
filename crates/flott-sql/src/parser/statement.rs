//! The statement parser: which statement it is by its first words, then each part in Flink's order.

mod alter;
mod show;

use super::ast::*;
use super::dialect::FlinkDialect;
use super::limits::MAX_NESTING;
use super::tokens::{StatementTokens, is_word};
use super::types;
use crate::error::{SqlError, SqlResult, Step};
use flott_core::suggest;
use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

type Parsed<T> = Result<T, ParserError>;

const STARTS: &[&str] = &[
    "CREATE", "DROP", "SET", "RESET", "INSERT", "EXECUTE", "BEGIN", "EXPLAIN", "SELECT", "WITH", "VALUES", "SHOW",
    "DESCRIBE", "DESC", "USE", "ALTER", "STOP", "LOAD", "UNLOAD",
];

/// Statements of Flink that are known and not taken, and why.
const LATER: &[(&str, &str)] = &[
    (
        "ADD",
        "jars cannot be loaded, and need not be: connectors, formats and functions are built in",
    ),
    ("REMOVE", "jars cannot be loaded, so there are none to remove"),
    ("HELP", "HELP is a command of the shell: flott sql"),
    (
        "QUIT",
        "QUIT is a command of the shell (flott sql); a script ends with its last statement",
    ),
    (
        "EXIT",
        "EXIT is a command of the shell (flott sql); a script ends with its last statement",
    ),
    ("CLEAR", "CLEAR is a command of the shell: flott sql"),
    ("CALL", "no catalog has procedures so far"),
    (
        "COMPILE",
        "plans are not written by a statement so far; EXPLAIN JSON_EXECUTION_PLAN shows one",
    ),
    (
        "UPDATE",
        "UPDATE is for batch jobs; on a stream write the new row to a table with a PRIMARY KEY",
    ),
    (
        "DELETE",
        "DELETE is for batch jobs; on a stream rows are taken back by what they were computed from",
    ),
    ("TRUNCATE", "TRUNCATE TABLE is for batch jobs"),
    (
        "ANALYZE",
        "ANALYZE TABLE is for batch jobs; plans of streams use no statistics",
    ),
];

/// Reads one statement of a script; statements come in their order.
pub fn parse(places: &mut Places<'_>, tokens: StatementTokens) -> SqlResult<Statement> {
    let location = tokens[0].span.start;
    let end = tokens[tokens.len() - 1].span.end;
    places.offset(location);
    let start = *places;
    let statement_text = places.slice(location, end).to_owned();
    let dialect = FlinkDialect::of(tokens.len());
    let mut statement = StatementParser {
        p: Parser::new(&dialect)
            .with_recursion_limit(MAX_NESTING)
            .with_tokens_with_locations(tokens.clone()),
        places: start,
        end,
    };
    statement
        .statement()
        .and_then(|kind| {
            statement.end()?;
            Ok(kind)
        })
        .map(|kind| Statement {
            kind,
            location,
            text: statement_text,
        })
        .map_err(|e| match dialect.given_up_at() {
            Some(place) => given_up(place),
            None => furthest(e, &tokens, end),
        })
}

/// Finds places of a text, one after the other.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    text: &'a str,
    /// A place and the byte that is there.
    line: u64,
    column: u64,
    at: usize,
}

impl<'a> Places<'a> {
    /// At the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            line: 1,
            column: 1,
            at: 0,
        }
    }

    /// The part from `start` to `end`, which lie behind what was asked for before.
    fn slice(&mut self, start: Location, end: Location) -> &'a str {
        let from = self.offset(start);
        let to = self.offset(end);
        &self.text[from..to]
    }

    fn offset(&mut self, place: Location) -> usize {
        for c in self.text[self.at..].chars() {
            if (self.line, self.column) >= (place.line, place.column) {
                break;
            }
            self.at += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at
    }
}

/// The error of a statement that was read over and over; `place` is where reading came furthest.
fn given_up(place: Location) -> SqlError {
    let message = "there is an error here, or shortly before or behind: it lies so deep in calls and parentheses that reading was given up";
    SqlError::new(Step::Syntax, message)
        .at(place)
        .remedy("see that each parenthesis is closed, or name parts of the statement, in WITH or in views, to be told the error itself")
}

/// Tokens that are read once more for a better place: each try may take the whole statement.
const MAX_TRIED_TOKENS: usize = 300_000;

/// The error at the furthest place. sqlparser tries alternatives for a parenthesis and for CASE, and reports the wrong
/// one's place, so nested queries and CASEs are read once more by themselves.
fn furthest(error: ParserError, tokens: &[TokenWithSpan], end: Location) -> SqlError {
    let mut best = to_error(&error, end);
    if error == ParserError::RecursionLimitExceeded {
        return best;
    }
    let dialect = FlinkDialect::of(tokens.len());
    let mut p = Parser::new(&dialect)
        .with_recursion_limit(MAX_NESTING)
        .with_tokens_with_locations(tokens.to_vec());
    let mut tries = 0;
    for (i, token) in tokens.iter().enumerate() {
        p.advance_token();
        let Some(next) = tokens.get(i + 1).filter(|_| tries * tokens.len() < MAX_TRIED_TOKENS) else {
            break;
        };
        let opens_query = token.token == Token::LParen && ["SELECT", "WITH", "VALUES"].iter().any(|w| is_word(next, w));
        if !opens_query && !is_word(token, "CASE") {
            continue;
        }
        tries += 1;
        let mut read = Ok(());
        // An error, whatever was read, puts the parser back to where it was.
        let _ = p.try_parse(|p| -> Parsed<()> {
            read = match opens_query {
                true => p.parse_query().and_then(|_| p.expect_token(&Token::RParen)).map(drop),
                false => p.parse_case_expr().map(drop),
            };
            Err(ParserError::RecursionLimitExceeded)
        });
        if let Err(inner) = read
            && inner != ParserError::RecursionLimitExceeded
        {
            let inner = to_error(&inner, end);
            let place = |e: &SqlError| e.place.as_ref().map(|p| (p.line, p.column));
            if place(&inner) > place(&best) {
                best = inner;
            }
        }
    }
    best
}

/// Our error for sqlparser's text `Expected: x, found: y at Line: l, Column: c`.
fn to_error(error: &ParserError, end: Location) -> SqlError {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            let message = format!("the statement is nested too deeply: more than {MAX_NESTING} levels in each other");
            return SqlError::new(Step::Syntax, message)
                .at(end)
                .remedy("name parts of it, in WITH or in views");
        }
    };
    let (text, location) = match text.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, read_place(place)),
        None => (text, None),
    };
    let Some((expected, found)) = text.strip_prefix("Expected: ").and_then(|t| t.rsplit_once(", found: ")) else {
        return SqlError::new(Step::Syntax, text).at(location.unwrap_or(end));
    };
    let (found, location) = match found {
        "EOF" => ("<EOF>", end),
        found => (found, location.unwrap_or(end)),
    };
    SqlError::new(Step::Syntax, format!("Encountered \"{found}\"; expected {expected}")).at(location)
}

fn read_place(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}

struct StatementParser<'a> {
    p: Parser<'a>,
    /// The script, from the statement on.
    places: Places<'a>,
    /// Where the statement ends in it.
    end: Location,
}

impl StatementParser<'_> {
    fn statement(&mut self) -> Parsed<StatementKind> {
        let first = self.p.peek_token();
        let word = match &first.token {
            Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
            Token::LParen => return self.query().map(StatementKind::Query),
            _ => return self.p.expected("a statement", first),
        };
        match word.as_str() {
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "SET" => self.set(),
            "RESET" => self.reset(),
            "INSERT" => self.insert().map(StatementKind::Insert),
            "EXECUTE" | "BEGIN" => self.statement_set().map(StatementKind::StatementSet),
            "EXPLAIN" => self.explain().map(StatementKind::Explain),
            "SELECT" | "WITH" | "VALUES" => self.query().map(StatementKind::Query),
            "SHOW" => self.show().map(StatementKind::Show),
            "DESCRIBE" | "DESC" => self.describe().map(StatementKind::Describe),
            "USE" => self.use_statement(),
            "ALTER" => self.alter(),
            "STOP" => self.stop_job().map(StatementKind::StopJob),
            "LOAD" | "UNLOAD" => self.module().map(StatementKind::Module),
            word if let Some((_, why)) = LATER.iter().find(|(later, _)| *later == word) => {
                self.p.expected(&format!("another statement: {why}"), first)
            }
            word => {
                let hint = suggest::hint(word, STARTS.iter().copied());
                self.p
                    .expected(&format!("a statement: {}{hint}", STARTS.join(", ")), first)
            }
        }
    }

    fn end(&mut self) -> Parsed<()> {
        match self.p.peek_token().token {
            Token::EOF => Ok(()),
            _ => self.p.expected("the end of the statement (';')", self.p.peek_token()),
        }
    }

    fn query(&mut self) -> Parsed<Box<Query>> {
        self.p.parse_query()
    }

    /// A query that the statement ends with, and its words.
    fn query_with_text(&mut self) -> Parsed<(Box<Query>, String)> {
        let start = self.p.peek_token().span.start;
        let query = self.query()?;
        Ok((query, { self.places }.slice(start, self.end).to_owned()))
    }

    fn name(&mut self) -> Parsed<ObjectName> {
        let token = self.p.peek_token();
        let name = self.p.parse_object_name(false)?;
        match name.0.len() {
            1..=3 => Ok(name),
            _ => self
                .p
                .expected("a name of at most three parts (catalog.database.table)", token),
        }
    }

    /// Takes a word that need not be a keyword of sqlparser.
    fn word(&mut self, text: &str) -> bool {
        let found = is_word(self.p.peek_token_ref(), text);
        if found {
            self.p.advance_token();
        }
        found
    }

    fn words(&mut self, texts: &[&str]) -> bool {
        let found = texts
            .iter()
            .enumerate()
            .all(|(i, text)| is_word(self.p.peek_nth_token_ref(i), text));
        if found {
            texts.iter().for_each(|_| self.p.advance_token());
        }
        found
    }

    fn expect_words(&mut self, texts: &[&str]) -> Parsed<()> {
        for text in texts {
            if !self.word(text) {
                return self.p.expected(text, self.p.peek_token());
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Parsed<String> {
        let token = self.p.next_token();
        match token.token {
            Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text) => Ok(text),
            _ => self.p.expected("a string in single quotes", token),
        }
    }

    fn names_in_parens(&mut self) -> Parsed<Vec<Ident>> {
        self.p.expect_token(&Token::LParen)?;
        let names = self.p.parse_comma_separated(Parser::parse_identifier)?;
        self.p.expect_token(&Token::RParen)?;
        Ok(names)
    }

    fn create(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["CREATE"])?;
        let temporary = self.word("TEMPORARY");
        let token = self.p.peek_token();
        if is_word(&token, "OR") {
            return self.p.expected(
                "TABLE, VIEW, DATABASE or CATALOG (CREATE OR REPLACE is not supported yet: DROP TABLE IF EXISTS and CREATE TABLE do it)",
                token,
            );
        }
        if self.word("TABLE") {
            self.create_table(temporary)
        } else if self.word("VIEW") {
            self.create_view(temporary).map(StatementKind::CreateView)
        } else if !temporary && self.word("DATABASE") {
            self.create_database().map(StatementKind::Database)
        } else if !temporary && self.word("CATALOG") {
            self.create_catalog().map(StatementKind::Catalog)
        } else {
            self.p.expected(
                "TABLE, VIEW, DATABASE or CATALOG (no other CREATE is supported yet)",
                token,
            )
        }
    }

    fn create_view(&mut self, temporary: bool) -> Parsed<CreateView> {
        let if_not_exists = self.words(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?;
        let columns = if self.p.peek_token().token == Token::LParen {
            self.names_in_parens()?
        } else {
            vec![]
        };
        let comment = self.comment()?;
        self.expect_words(&["AS"])?;
        let (query, text) = self.query_with_text()?;
        Ok(CreateView {
            name,
            temporary,
            if_not_exists,
            columns,
            comment,
            query,
            text,
        })
    }

    /// `COMMENT 'text'`, if it is there.
    fn comment(&mut self) -> Parsed<Option<String>> {
        match self.word("COMMENT") {
            true => self.string().map(Some),
            false => Ok(None),
        }
    }

    fn create_table(&mut self, temporary: bool) -> Parsed<StatementKind> {
        let if_not_exists = self.words(&["IF", "NOT", "EXISTS"]);
        let mut table = CreateTable {
            name: self.name()?,
            temporary,
            if_not_exists,
            columns: vec![],
            watermark: None,
            primary_key: None,
            partitioned_by: vec![],
            comment: None,
            options: vec![],
        };
        let has_elements = self.p.peek_token().token == Token::LParen;
        if has_elements {
            self.table_elements(&mut table)?;
        }
        loop {
            let token = self.p.peek_token();
            if self.word("COMMENT") {
                table.comment = Some(self.string()?);
            } else if self.words(&["PARTITIONED", "BY"]) {
                table.partitioned_by = self.names_in_parens()?;
            } else if self.word("WITH") {
                table.options = self.options()?;
            } else if self.word("LIKE") {
                return self.like(table).map(|t| StatementKind::CreateTableLike(Box::new(t)));
            } else if self.word("AS") {
                if !table.columns.is_empty() {
                    return self
                        .p
                        .expected("a table without columns before AS (they come from the query)", token);
                }
                let query = self.query()?;
                return Ok(StatementKind::CreateTableAs(Box::new(CreateTableAs { table, query })));
            } else if self.word("DISTRIBUTED") {
                return self.p.expected("WITH (DISTRIBUTED is not supported yet)", token);
            } else if has_elements {
                return Ok(StatementKind::CreateTable(Box::new(table)));
            } else {
                return self.p.expected("'(' with the table's columns, LIKE, or AS", token);
            }
        }
    }

    fn table_elements(&mut self, table: &mut CreateTable) -> Parsed<()> {
        self.p.expect_token(&Token::LParen)?;
        if self.p.peek_token().token != Token::RParen {
            loop {
                self.table_element(table)?;
                if !self.p.consume_token(&Token::Comma) {
                    break;
                }
            }
        }
        if self.p.peek_token().token != Token::RParen {
            return self.p.expected("',' or ')' after a column", self.p.peek_token());
        }
        self.p.advance_token();
        Ok(())
    }

    fn table_element(&mut self, table: &mut CreateTable) -> Parsed<()> {
        let token = self.p.peek_token();
        if self.words(&["WATERMARK", "FOR"]) {
            let mut column = vec![self.p.parse_identifier()?];
            while self.p.consume_token(&Token::Period) {
                column.push(self.p.parse_identifier()?);
            }
            self.expect_words(&["AS"])?;
            let expr = self.p.parse_expr()?;
            if table.watermark.is_some() {
                return self.p.expected("one WATERMARK for a table at most", token);
            }
            table.watermark = Some(WatermarkDef { column, expr });
            return Ok(());
        }
        if is_word(&token, "CONSTRAINT") && !matches!(self.p.peek_nth_token(1).token, Token::Comma | Token::RParen) {
            self.p.advance_token();
            self.p.parse_identifier()?;
        }
        if self.words(&["PRIMARY", "KEY"]) {
            let key = self.names_in_parens()?;
            self.not_enforced()?;
            return self.primary_key(table, key, token);
        }
        if self.word("UNIQUE") {
            return self
                .p
                .expected("a column or PRIMARY KEY (Flink has no UNIQUE keys)", token);
        }
        let name = self.p.parse_identifier()?;
        if self.word("AS") {
            let expr = self.p.parse_expr()?;
            return self.column(table, name, ColumnKind::Computed(Box::new(expr)));
        }
        let ty = types::parse(&mut self.p)?;
        let constraint = self.p.peek_token();
        if self.word("METADATA") {
            let key = if self.word("FROM") { Some(self.string()?) } else { None };
            let is_virtual = self.word("VIRTUAL");
            return self.column(table, name, ColumnKind::Metadata { ty, key, is_virtual });
        }
        let mut ty = ty;
        if self.words(&["PRIMARY", "KEY"]) {
            self.not_enforced()?;
            ty.nullable = false;
            self.primary_key(table, vec![name.clone()], constraint)?;
        }
        self.column(table, name, ColumnKind::Physical(ty))
    }

    fn column(&mut self, table: &mut CreateTable, name: Ident, kind: ColumnKind) -> Parsed<()> {
        let comment = self.comment()?;
        table.columns.push(ColumnDef { name, kind, comment });
        Ok(())
    }

    fn not_enforced(&mut self) -> Parsed<()> {
        let token = self.p.peek_token();
        if self.words(&["NOT", "ENFORCED"]) {
            return Ok(());
        }
        self.p.expected(
            "NOT ENFORCED (a stream's engine does not own its tables' data, so it cannot enforce a key)",
            token,
        )
    }

    fn primary_key(&mut self, table: &mut CreateTable, key: Vec<Ident>, token: TokenWithSpan) -> Parsed<()> {
        if table.primary_key.is_some() {
            return self.p.expected("one PRIMARY KEY for a table at most", token);
        }
        table.primary_key = Some(key);
        Ok(())
    }

    fn options(&mut self) -> Parsed<PlacedOptions> {
        self.p.expect_token(&Token::LParen)?;
        let mut options = vec![];
        if self.p.consume_token(&Token::RParen) {
            return Ok(options);
        }
        loop {
            let location = self.p.peek_token().span.start;
            let key = self.string()?;
            self.p.expect_token(&Token::Eq)?;
            let value = self.string()?;
            options.push((key, value, location));
            if !self.p.consume_token(&Token::Comma) {
                break;
            }
        }
        if self.p.peek_token().token != Token::RParen {
            return self.p.expected("',' or ')' after an option", self.p.peek_token());
        }
        self.p.advance_token();
        Ok(options)
    }

    fn drop(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["DROP"])?;
        let temporary = self.word("TEMPORARY");
        let token = self.p.peek_token();
        if !temporary && self.word("DATABASE") {
            return self.drop_database().map(StatementKind::Database);
        }
        if !temporary && self.word("CATALOG") {
            return self.drop_catalog().map(StatementKind::Catalog);
        }
        let view = self.word("VIEW");
        if !view && !self.word("TABLE") {
            return self.p.expected(
                "TABLE, VIEW, DATABASE or CATALOG (no other DROP is supported yet)",
                token,
            );
        }
        let if_exists = self.words(&["IF", "EXISTS"]);
        let name = self.name()?;
        Ok(StatementKind::Drop(Drop {
            view,
            temporary,
            if_exists,
            name,
        }))
    }

    fn set(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["SET"])?;
        if self.p.peek_token().token == Token::EOF {
            return Ok(StatementKind::Set(None));
        }
        let key = self.bare_text(&|t| *t == Token::Eq)?;
        self.p.expect_token(&Token::Eq)?;
        let value = self.bare_text(&|_| false)?;
        Ok(StatementKind::Set(Some((key, value))))
    }

    fn reset(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["RESET"])?;
        if self.p.peek_token().token == Token::EOF {
            return Ok(StatementKind::Reset(None));
        }
        let key = self.bare_text(&|_| false)?;
        Ok(StatementKind::Reset(Some(key)))
    }

    /// A string, or the bare tokens up to the end or `stop`, with the blanks that stood between them.
    fn bare_text(&mut self, stop: &dyn Fn(&Token) -> bool) -> Parsed<String> {
        let first = self.p.next_token();
        match &first.token {
            Token::SingleQuotedString(text) => return Ok(text.clone()),
            Token::EOF => return self.p.expected("a key or value", first),
            token if stop(token) => return self.p.expected("a key", first),
            _ => {}
        }
        let mut text = first.token.to_string();
        let mut end: Span = first.span;
        while self.p.peek_token().token != Token::EOF && !stop(&self.p.peek_token().token) {
            let next = self.p.next_token();
            if next.span.start != end.end {
                text.push(' ');
            }
            text.push_str(&next.token.to_string());
            end = next.span;
        }
        Ok(text)
    }

    fn insert(&mut self) -> Parsed<Insert> {
        self.expect_words(&["INSERT"])?;
        let token = self.p.peek_token();
        if self.word("OVERWRITE") {
            return self.p.expected("INTO (INSERT OVERWRITE is for batch jobs only)", token);
        }
        self.expect_words(&["INTO"])?;
        let table = self.name()?;
        let token = self.p.peek_token();
        let partition = if self.word("PARTITION") {
            self.static_partition()?
        } else {
            vec![]
        };
        let token = if partition.is_empty() {
            token
        } else {
            self.p.peek_token()
        };
        let is_columns = token.token == Token::LParen
            && !["SELECT", "WITH", "VALUES"]
                .iter()
                .any(|w| is_word(self.p.peek_nth_token_ref(1), w))
            && self.p.peek_nth_token(1).token != Token::LParen;
        let columns = if is_columns { self.names_in_parens()? } else { vec![] };
        let token = self.p.peek_token();
        let starts = ["SELECT", "WITH", "VALUES"].iter().any(|w| is_word(&token, w)) || token.token == Token::LParen;
        if !starts {
            return self.p.expected("SELECT, WITH or VALUES", token);
        }
        let query = self.query()?;
        Ok(Insert {
            table,
            partition,
            columns,
            query,
        })
    }

    /// `(column = value, …)`
    fn static_partition(&mut self) -> Parsed<Vec<(Ident, Expr)>> {
        self.p.expect_token(&Token::LParen)?;
        let partition = self.p.parse_comma_separated(|p| {
            let column = p.parse_identifier()?;
            p.expect_token(&Token::Eq)?;
            Ok((column, p.parse_expr()?))
        })?;
        self.p.expect_token(&Token::RParen)?;
        Ok(partition)
    }

    fn module(&mut self) -> Parsed<ModuleStatement> {
        let load = self.word("LOAD");
        if !load {
            self.expect_words(&["UNLOAD"])?;
        }
        self.expect_words(&["MODULE"])?;
        let name = self.p.parse_identifier()?;
        if load && self.word("WITH") {
            // No module has options.
            self.options()?;
        }
        Ok(ModuleStatement { load, name })
    }

    fn stop_job(&mut self) -> Parsed<StopJob> {
        self.expect_words(&["STOP", "JOB"])?;
        let location = self.p.peek_token().span.start;
        let id = self.string()?;
        let with_savepoint = self.words(&["WITH", "SAVEPOINT"]);
        let with_drain = self.words(&["WITH", "DRAIN"]);
        Ok(StopJob {
            id,
            location,
            with_savepoint,
            with_drain,
        })
    }

    fn statement_set(&mut self) -> Parsed<Vec<Insert>> {
        if self.word("EXECUTE") {
            self.expect_words(&["STATEMENT", "SET", "BEGIN"])?;
        } else {
            self.expect_words(&["BEGIN", "STATEMENT", "SET"])?;
            while self.p.consume_token(&Token::SemiColon) {}
        }
        self.inserts()
    }

    /// The inserts of a set, up to and with `END`.
    fn inserts(&mut self) -> Parsed<Vec<Insert>> {
        let mut inserts = vec![];
        loop {
            while self.p.consume_token(&Token::SemiColon) {}
            let token = self.p.peek_token();
            if self.word("END") {
                if inserts.is_empty() {
                    return self.p.expected("at least one INSERT in a statement set", token);
                }
                return Ok(inserts);
            }
            if !is_word(&token, "INSERT") {
                return self.p.expected("INSERT or END", token);
            }
            inserts.push(self.insert()?);
            let token = self.p.peek_token();
            if token.token != Token::SemiColon && !is_word(&token, "END") {
                return self.p.expected("';' after an INSERT of a statement set", token);
            }
        }
    }

    fn explain(&mut self) -> Parsed<Explain> {
        self.expect_words(&["EXPLAIN"])?;
        let (mut json, mut advice) = (false, false);
        if !self.words(&["PLAN", "FOR"]) {
            loop {
                let token = self.p.peek_token();
                if self.word("JSON_EXECUTION_PLAN") {
                    json = true;
                } else if self.word("PLAN_ADVICE") {
                    advice = true;
                } else if !(self.word("CHANGELOG_MODE") || self.word("ESTIMATED_COST")) {
                    break;
                }
                if !self.p.consume_token(&Token::Comma) {
                    break;
                }
                if self.p.peek_token().token == Token::EOF {
                    return self.p.expected("an explain detail", token);
                }
            }
        }
        let token = self.p.peek_token();
        let inserts = if is_word(&token, "INSERT") {
            Explained::Inserts(vec![self.insert()?])
        } else if self.words(&["STATEMENT", "SET", "BEGIN"]) {
            Explained::Inserts(self.inserts()?)
        } else if is_word(&token, "EXECUTE") || is_word(&token, "BEGIN") {
            Explained::Inserts(self.statement_set()?)
        } else if ["SELECT", "WITH", "VALUES"].iter().any(|w| is_word(&token, w)) || token.token == Token::LParen {
            Explained::Query(self.query()?)
        } else {
            return self.p.expected("SELECT, INSERT or STATEMENT SET BEGIN", token);
        };
        Ok(Explain { inserts, json, advice })
    }
}

/// Parses an expression by itself.
pub fn parse_expr(text: &str) -> Parsed<sqlparser::ast::Expr> {
    let dialect = FlinkDialect::default();
    Parser::new(&dialect).try_with_sql(text)?.parse_expr()
}
