//! SHOW, DESCRIBE, USE, and the statements on databases and catalogs.

use super::{Parsed, StatementParser, is_word};
use crate::parser::ast::*;
use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::{Location, Token};

/// What may stand behind SHOW.
const SHOWN: &str = "TABLES, VIEWS, COLUMNS, FUNCTIONS, DATABASES, CATALOGS, JOBS, CREATE TABLE, CREATE VIEW, \
                     CREATE CATALOG, CURRENT CATALOG or CURRENT DATABASE";

impl StatementParser<'_> {
    pub(super) fn show(&mut self) -> Parsed<Show> {
        self.expect_words(&["SHOW"])?;
        let token = self.p.peek_token();
        if self.words(&["CURRENT", "CATALOG"]) {
            return Ok(Show::CurrentCatalog);
        }
        if self.words(&["CURRENT", "DATABASE"]) {
            return Ok(Show::CurrentDatabase);
        }
        if self.words(&["CREATE", "TABLE"]) {
            return self.name().map(Show::CreateTable);
        }
        if self.words(&["CREATE", "VIEW"]) {
            return self.name().map(Show::CreateView);
        }
        if self.words(&["CREATE", "CATALOG"]) {
            return self.p.parse_identifier().map(Show::CreateCatalog);
        }
        if self.words(&["FULL", "MODULES"]) {
            return Ok(Show::Modules { full: true });
        }
        if self.word("MODULES") {
            return Ok(Show::Modules { full: false });
        }
        if self.word("PARTITIONS") {
            return self.p.expected(
                "something else to show (PARTITIONS are not kept in a catalog: they are the folders of the table's 'path')",
                token,
            );
        }
        if self.word("JOBS") {
            return Ok(Show::Jobs);
        }
        let kinds = [
            ("TABLES", Listed::Tables),
            ("VIEWS", Listed::Views),
            ("COLUMNS", Listed::Columns),
            ("FUNCTIONS", Listed::Functions),
            ("DATABASES", Listed::Databases),
            ("CATALOGS", Listed::Catalogs),
        ];
        let found = kinds.iter().find(|(word, _)| self.word(word)).map(|(_, kind)| *kind);
        let what = match found {
            Some(kind) => kind,
            None if self.words(&["USER", "FUNCTIONS"]) => Listed::UserFunctions,
            None => return self.p.expected(SHOWN, token),
        };
        let token = self.p.peek_token();
        let scope = match self.word("FROM") || self.word("IN") {
            true if what == Listed::Catalogs => return self.p.expected("LIKE or the end of the statement", token),
            true => Some(self.name()?),
            false if what == Listed::Columns => return self.p.expected("FROM or IN with a table's name", token),
            false => None,
        };
        Ok(Show::List {
            what,
            scope,
            like: self.like_pattern()?,
        })
    }

    fn like_pattern(&mut self) -> Parsed<Option<Like>> {
        let negated = self.word("NOT");
        let token = self.p.peek_token();
        let ignores_case = is_word(&token, "ILIKE");
        if self.word("LIKE") || self.word("ILIKE") {
            let pattern = self.string()?;
            return Ok(Some(Like {
                pattern,
                negated,
                ignores_case,
            }));
        }
        match negated {
            true => self.p.expected("LIKE or ILIKE", token),
            false => Ok(None),
        }
    }

    pub(super) fn describe(&mut self) -> Parsed<Describe> {
        self.p.advance_token();
        // A table may be called `database`: the word is a keyword only before another name.
        let is_named = matches!(self.p.peek_nth_token(1).token, Token::Word(_));
        if is_named && self.word("DATABASE") {
            let extended = self.word("EXTENDED");
            return Ok(Describe::Database {
                name: self.database_name()?,
                extended,
            });
        }
        if is_named && self.word("CATALOG") {
            let extended = self.word("EXTENDED");
            return Ok(Describe::Catalog {
                name: self.p.parse_identifier()?,
                extended,
            });
        }
        let is_job = is_word(self.p.peek_token_ref(), "JOB")
            && matches!(self.p.peek_nth_token(1).token, Token::SingleQuotedString(_));
        if is_job {
            self.p.advance_token();
            return Ok(Describe::Job { id: self.string()? });
        }
        if is_named {
            self.word("EXTENDED");
        }
        self.name().map(Describe::Table)
    }

    pub(super) fn use_statement(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["USE"])?;
        if self.word("CATALOG") {
            let name = self.p.parse_identifier()?;
            return Ok(StatementKind::Catalog(CatalogStatement::Use(name)));
        }
        let token = self.p.peek_token();
        if self.word("MODULES") {
            return self.p.expected("a database's name (modules are not supported)", token);
        }
        self.database_name()
            .map(|name| StatementKind::Database(DatabaseStatement::Use(name)))
    }

    pub(super) fn database_name(&mut self) -> Parsed<ObjectName> {
        let token = self.p.peek_token();
        let name = self.p.parse_object_name(false)?;
        match name.0.len() {
            1 | 2 => Ok(name),
            _ => self.p.expected("a name of at most two parts (catalog.database)", token),
        }
    }

    pub(super) fn create_database(&mut self) -> Parsed<DatabaseStatement> {
        let if_not_exists = self.words(&["IF", "NOT", "EXISTS"]);
        Ok(DatabaseStatement::Create {
            name: self.database_name()?,
            if_not_exists,
            comment: self.comment()?,
            options: self.with_options()?,
        })
    }

    pub(super) fn create_catalog(&mut self) -> Parsed<CatalogStatement> {
        let if_not_exists = self.words(&["IF", "NOT", "EXISTS"]);
        Ok(CatalogStatement::Create {
            name: self.p.parse_identifier()?,
            if_not_exists,
            comment: self.comment()?,
            options: match self.word("WITH") {
                true => self.options()?,
                false => vec![],
            },
        })
    }

    pub(super) fn drop_database(&mut self) -> Parsed<DatabaseStatement> {
        let if_exists = self.words(&["IF", "EXISTS"]);
        let name = self.database_name()?;
        let cascade = self.word("CASCADE");
        if !cascade {
            self.word("RESTRICT");
        }
        Ok(DatabaseStatement::Drop {
            name,
            if_exists,
            cascade,
        })
    }

    pub(super) fn drop_catalog(&mut self) -> Parsed<CatalogStatement> {
        let if_exists = self.words(&["IF", "EXISTS"]);
        let name: Ident = self.p.parse_identifier()?;
        Ok(CatalogStatement::Drop { name, if_exists })
    }

    fn with_options(&mut self) -> Parsed<OptionList> {
        match self.word("WITH") {
            true => self.option_list(),
            false => Ok(vec![]),
        }
    }

    pub(super) fn option_list(&mut self) -> Parsed<OptionList> {
        Ok(self.options()?.into_iter().map(|(k, v, _)| (k, v)).collect())
    }

    /// `('key', 'key')`
    pub(super) fn keys(&mut self) -> Parsed<Vec<String>> {
        Ok(self.placed_keys()?.into_iter().map(|(key, _)| key).collect())
    }

    /// The same with their places.
    pub(super) fn placed_keys(&mut self) -> Parsed<Vec<(String, Location)>> {
        self.p.expect_token(&Token::LParen)?;
        let keys = self.p.parse_comma_separated(|p| {
            let location = p.peek_token().span.start;
            Ok((p.parse_literal_string()?, location))
        })?;
        self.p.expect_token(&Token::RParen)?;
        Ok(keys)
    }
}
