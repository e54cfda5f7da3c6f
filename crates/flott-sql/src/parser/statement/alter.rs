//! ALTER, and CREATE TABLE … LIKE.

use super::{Parsed, StatementParser};
use crate::parser::ast::*;
use sqlparser::tokenizer::Token;

impl StatementParser<'_> {
    pub(super) fn alter(&mut self) -> Parsed<StatementKind> {
        self.expect_words(&["ALTER"])?;
        let token = self.p.peek_token();
        if self.word("TABLE") {
            return self.alter_table().map(|a| StatementKind::AlterTable(Box::new(a)));
        }
        if self.word("VIEW") {
            return self.alter_view().map(StatementKind::AlterView);
        }
        if self.word("DATABASE") {
            let name = self.database_name()?;
            self.expect_words(&["SET"])?;
            let options = self.option_list()?;
            return Ok(StatementKind::Database(DatabaseStatement::Alter { name, options }));
        }
        if self.word("CATALOG") {
            let name = self.p.parse_identifier()?;
            let token = self.p.peek_token();
            let change = if self.word("SET") {
                CatalogChange::Set(self.options()?)
            } else if self.word("RESET") {
                CatalogChange::Reset(self.placed_keys()?)
            } else if self.word("COMMENT") {
                CatalogChange::Comment(self.string()?)
            } else {
                return self.p.expected("SET, RESET or COMMENT", token);
            };
            return Ok(StatementKind::Catalog(CatalogStatement::Alter { name, change }));
        }
        self.p.expected(
            "TABLE, VIEW, DATABASE or CATALOG (no other ALTER is supported yet)",
            token,
        )
    }

    fn alter_view(&mut self) -> Parsed<AlterView> {
        let name = self.name()?;
        let token = self.p.peek_token();
        let change = if self.words(&["RENAME", "TO"]) {
            ViewChange::RenameTo(self.name()?)
        } else if self.word("AS") {
            let (query, text) = self.query_with_text()?;
            ViewChange::As(query, text)
        } else {
            return self.p.expected("RENAME TO or AS", token);
        };
        Ok(AlterView { name, change })
    }

    fn alter_table(&mut self) -> Parsed<AlterTable> {
        let if_exists = self.words(&["IF", "EXISTS"]);
        let name = self.name()?;
        let token = self.p.peek_token();
        let change = if self.words(&["RENAME", "TO"]) {
            TableChange::RenameTo(self.name()?)
        } else if self.word("RENAME") {
            let from = self.p.parse_identifier()?;
            self.expect_words(&["TO"])?;
            let to = self.p.parse_identifier()?;
            TableChange::RenameColumn { from, to }
        } else if self.word("SET") {
            TableChange::Set(self.option_list()?)
        } else if self.word("RESET") {
            TableChange::Reset(self.keys()?)
        } else if self.word("ADD") {
            TableChange::Add(self.alter_elements()?)
        } else if self.word("MODIFY") {
            TableChange::Modify(self.alter_elements()?)
        } else if self.word("DROP") {
            self.alter_drop()?
        } else {
            return self.p.expected("ADD, MODIFY, DROP, RENAME, SET or RESET", token);
        };
        Ok(AlterTable {
            name,
            if_exists,
            change,
        })
    }

    fn alter_drop(&mut self) -> Parsed<TableChange> {
        let token = self.p.peek_token();
        if self.words(&["PRIMARY", "KEY"]) {
            return Ok(TableChange::DropPrimaryKey);
        }
        if self.word("CONSTRAINT") {
            self.p.parse_identifier()?;
            return Ok(TableChange::DropPrimaryKey);
        }
        if self.word("WATERMARK") {
            return Ok(TableChange::DropWatermark);
        }
        if self.word("PARTITION") {
            return self.p.expected("a column (partitions cannot be dropped)", token);
        }
        match token.token {
            Token::LParen => self.names_in_parens().map(TableChange::DropColumns),
            _ => Ok(TableChange::DropColumns(vec![self.p.parse_identifier()?])),
        }
    }

    /// One element, or several in parentheses.
    fn alter_elements(&mut self) -> Parsed<Vec<TableElement>> {
        let mut elements = vec![];
        if !self.p.consume_token(&Token::LParen) {
            self.alter_element(&mut elements)?;
            return Ok(elements);
        }
        loop {
            self.alter_element(&mut elements)?;
            if !self.p.consume_token(&Token::Comma) {
                break;
            }
        }
        self.p.expect_token(&Token::RParen)?;
        Ok(elements)
    }

    fn alter_element(&mut self, elements: &mut Vec<TableElement>) -> Parsed<()> {
        let mut table = CreateTable {
            name: sqlparser::ast::ObjectName(vec![]),
            temporary: false,
            if_not_exists: false,
            columns: vec![],
            watermark: None,
            primary_key: None,
            partitioned_by: vec![],
            comment: None,
            options: vec![],
        };
        self.table_element(&mut table)?;
        for column in table.columns {
            let position = if self.word("FIRST") {
                Some(Position::First)
            } else if self.word("AFTER") {
                Some(Position::After(self.p.parse_identifier()?))
            } else {
                None
            };
            elements.push(TableElement::Column(column, position));
        }
        elements.extend(table.watermark.map(TableElement::Watermark));
        elements.extend(table.primary_key.map(TableElement::PrimaryKey));
        Ok(())
    }

    /// The rest of `CREATE TABLE … LIKE`.
    pub(super) fn like(&mut self, table: CreateTable) -> Parsed<CreateTableLike> {
        let base = self.name()?;
        let mut rules = vec![];
        if self.p.consume_token(&Token::LParen) {
            while !self.p.consume_token(&Token::RParen) {
                rules.push((self.like_strategy()?, self.like_part()?));
            }
        }
        Ok(CreateTableLike { table, base, rules })
    }

    fn like_strategy(&mut self) -> Parsed<LikeStrategy> {
        let token = self.p.peek_token();
        let strategies = [
            ("INCLUDING", LikeStrategy::Including),
            ("EXCLUDING", LikeStrategy::Excluding),
            ("OVERWRITING", LikeStrategy::Overwriting),
        ];
        match strategies.iter().find(|(word, _)| self.word(word)) {
            Some((_, strategy)) => Ok(*strategy),
            None => self.p.expected("INCLUDING, EXCLUDING or OVERWRITING", token),
        }
    }

    fn like_part(&mut self) -> Parsed<LikePart> {
        let token = self.p.peek_token();
        let parts = [
            ("ALL", LikePart::All),
            ("CONSTRAINTS", LikePart::Constraints),
            ("GENERATED", LikePart::Generated),
            ("METADATA", LikePart::Metadata),
            ("OPTIONS", LikePart::Options),
            ("PARTITIONS", LikePart::Partitions),
            ("WATERMARKS", LikePart::Watermarks),
        ];
        match parts.iter().find(|(word, _)| self.word(word)) {
            Some((_, part)) => Ok(*part),
            None => self.p.expected(
                "ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS",
                token,
            ),
        }
    }
}
