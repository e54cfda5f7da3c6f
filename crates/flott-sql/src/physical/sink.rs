//! Sinks: which changes they are fed, constraints, exchange by key, the last row of each key, writer.

use super::{Need, NewNode, Output, Planner, SINK_KIND, Stream};
use crate::binder::{BoundInsert, STREAM};
use crate::config::{KeyedShuffle, UpsertMaterialize};
use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{
    DropUpdateBeforeSpec, NestedEnforcer, SinkConstraintsSpec, SinkMaterializerSpec, TypeLengthEnforcer, kind,
};
use crate::rel::{Changelog, ModifyKinds, Rel, RelOp, upsert_keys};
use flott_core::{Field, LogicalType, TypeKind};
use flott_plan::{NodeId, Partitioning, Role};
use flott_runtime::connector::{ChangelogMode, SinkSpec};
use std::collections::BTreeSet;

/// How the key of the query's updates and the sink's primary key are to each other.
struct Keys {
    /// Columns of the primary key; empty: there is none.
    primary: Vec<usize>,
    /// The smallest key by which the query's updates follow each other, if one is known.
    upsert: Option<Vec<usize>>,
    /// Whether a key of the updates is the primary key.
    is_exact: bool,
    /// Whether a key of the updates lies in the primary key, so that its updates are never told apart by it.
    is_contained: bool,
}

impl Keys {
    fn of(insert: &BoundInsert, rel: &Rel) -> Self {
        let position = |name: &String| insert.fields.iter().position(|f| f.name == *name);
        let primary: Vec<usize> = insert.table.primary_key.iter().filter_map(position).collect();
        let columns: BTreeSet<usize> = primary.iter().copied().collect();
        let keys = upsert_keys(rel);
        Self {
            is_exact: keys.contains(&columns),
            is_contained: keys.iter().any(|k| k.is_subset(&columns)),
            upsert: keys
                .into_iter()
                .map(|k| k.into_iter().collect::<Vec<_>>())
                .min_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b))),
            primary,
        }
    }
}

impl Planner {
    pub(super) fn sink(&mut self, insert: &BoundInsert, rel: &Rel) -> SqlResult<()> {
        let id = self.skeleton.sink(&insert.table.name);
        let keys = Keys::of(insert, rel);
        let need = match insert.changelog {
            ChangelogMode::Upsert if keys.primary.is_empty() || keys.is_exact => Need::UpdateAfter,
            ChangelogMode::Append | ChangelogMode::Retract | ChangelogMode::Upsert => Need::UpdateBefore,
        };
        let mut stream = self.relation(rel, need)?;
        let materialized = self.is_materialized(insert, rel, &keys);
        if insert.changelog == ChangelogMode::Upsert && !materialized && stream.changelog().update_before {
            let as_delete = need == Need::UpdateBefore || is_filtered(rel);
            stream = self.drop_update_before(stream, rel, as_delete)?;
        }
        let parallelism = insert
            .table
            .options
            .positive("sink.parallelism")
            .map_err(|e| SqlError::new(Step::Option, format!("table '{}': {e}", insert.table.short_name())))?;
        let upstream = self.parallelism_of(&stream);
        let parallelism = parallelism.unwrap_or(upstream);
        let exec_id = self.exec_id();
        if self.needs_constraints(insert, rel)? {
            stream = self.constraints(insert, rel, stream, exec_id)?;
        }
        let mut exchange = self.sink_exchange(&keys, &stream, parallelism, materialized);
        if materialized {
            stream = self.materializer(insert, &keys, stream, exchange.take(), parallelism, exec_id)?;
        }
        let changelog = stream.changelog();
        let spec = SinkSpec {
            table: insert.table.clone(),
            fields: insert.fields.clone(),
            metadata: insert.metadata.clone(),
            updating: !changelog.kinds.is_append(),
        };
        let names: Vec<&str> = insert.fields.iter().map(|f| f.name.as_str()).collect();
        let mark = if materialized { ", upsertMaterialize=[true]" } else { "" };
        let new = NewNode {
            kind: SINK_KIND,
            name: "",
            description: format!(
                "Sink(table=[{}], fields=[{}]{mark})",
                insert.table.name,
                names.join(", ")
            ),
            role: Role::Sink,
            id,
            parallelism,
            output: insert.fields.clone(),
        };
        let name = format!("{}[{exec_id}]: Writer", insert.table.short_name());
        let node = self.add_named(new, name, &spec, changelog)?;
        self.connect_by(&stream, node, exchange);
        Ok(())
    }

    /// Whether the last row of each primary key must be found before the sink (`table.exec.sink.upsert-materialize`).
    fn is_materialized(&self, insert: &BoundInsert, rel: &Rel, keys: &Keys) -> bool {
        if keys.primary.is_empty() || insert.changelog == ChangelogMode::Append || ModifyKinds::of(rel).is_append() {
            return false;
        }
        match self.config.upsert_materialize {
            UpsertMaterialize::None => false,
            UpsertMaterialize::Auto => !keys.is_contained,
            UpsertMaterialize::Force => true,
        }
    }

    /// The exchange before a sink: by its key, so that a key's rows stay in order and meet in one place
    /// (`table.exec.sink.keyed-shuffle`).
    fn sink_exchange(
        &self,
        keys: &Keys,
        stream: &Stream,
        parallelism: usize,
        materialized: bool,
    ) -> Option<Partitioning> {
        let same = |o: &Output| self.plan.nodes[o.node].parallelism == parallelism;
        let is_keyed = match self.config.keyed_shuffle {
            KeyedShuffle::None => false,
            KeyedShuffle::Auto => parallelism > 1 && !stream.outputs.iter().all(same),
            KeyedShuffle::Force => parallelism > 1,
        };
        let keys = keys.primary.clone();
        (!keys.is_empty() && (is_keyed || materialized)).then_some(Partitioning::Hash { keys })
    }

    /// Connects a stream to a node through an exchange, if there is one.
    fn connect_by(&mut self, stream: &Stream, node: NodeId, exchange: Option<Partitioning>) {
        match exchange {
            Some(exchange) => self.exchange(stream, node, &exchange),
            None => self.connect(stream, node),
        }
    }

    fn constraints(&mut self, insert: &BoundInsert, rel: &Rel, stream: Stream, exec_id: usize) -> SqlResult<Stream> {
        let changelog = stream.changelog();
        let new = NewNode {
            kind: kind::SINK_CONSTRAINTS,
            name: "ConstraintEnforcer",
            description: constraints_description(insert, rel),
            role: Role::Operator,
            id: self.skeleton.stateless(kind::SINK_CONSTRAINTS),
            parallelism: self.parallelism_of(&stream),
            output: insert.fields.clone(),
        };
        let spec = SinkConstraintsSpec {
            table: insert.table.short_name().to_owned(),
            columns: insert.fields.clone(),
            not_null: self.config.not_null,
            type_length: self.config.type_length,
            nested: self.config.nested,
            is_stream: insert.table.connector() == STREAM,
        };
        let node = self.add_named(new, format!("ConstraintEnforcer[{exec_id}]"), &spec, changelog)?;
        self.connect(&stream, node);
        Ok(Stream::one(Output { node, changelog }))
    }

    fn materializer(
        &mut self,
        insert: &BoundInsert,
        keys: &Keys,
        stream: Stream,
        exchange: Option<Partitioning>,
        parallelism: usize,
        exec_id: usize,
    ) -> SqlResult<Stream> {
        let changelog = Changelog {
            kinds: ModifyKinds::ALL,
            update_before: false,
        };
        let new = NewNode {
            kind: kind::SINK_MATERIALIZER,
            name: "SinkMaterializer",
            description: format!("SinkMaterializer(pk=[{}])", insert.table.primary_key.join(", ")),
            role: Role::Operator,
            id: self.skeleton.stateful("sink-materializer", &insert.table.primary_key),
            parallelism,
            output: insert.fields.clone(),
        };
        let spec = SinkMaterializerSpec {
            input: insert.fields.clone(),
            primary_key: keys.primary.clone(),
            upsert_key: keys.upsert.clone(),
            ttl_ms: self.config.state_ttl_ms,
        };
        spec.validate().map_err(|e| SqlError::new(Step::Plan, e.to_string()))?;
        let node = self.add_named(new, format!("SinkMaterializer[{exec_id}]"), &spec, changelog)?;
        self.connect_by(&stream, node, exchange);
        Ok(Stream::one(Output { node, changelog }))
    }

    /// `as_delete`: a row that is taken back is deleted, as its new content may have been filtered out.
    pub(super) fn drop_update_before(&mut self, stream: Stream, rel: &Rel, as_delete: bool) -> SqlResult<Stream> {
        let kinds = stream.changelog().kinds;
        let changelog = Changelog {
            update_before: false,
            kinds: ModifyKinds {
                delete: kinds.delete || as_delete,
                ..kinds
            },
        };
        let new = NewNode {
            kind: kind::DROP_UPDATE_BEFORE,
            name: "DropUpdateBefore",
            description: match as_delete {
                true => "DropUpdateBefore(asDelete=[true])".to_owned(),
                false => "DropUpdateBefore".to_owned(),
            },
            role: Role::Operator,
            id: self.skeleton.stateless(kind::DROP_UPDATE_BEFORE),
            parallelism: self.parallelism_of(&stream),
            output: rel.schema(),
        };
        let node = self.add(new, &DropUpdateBeforeSpec { as_delete }, changelog)?;
        self.connect(&stream, node);
        Ok(Stream::one(Output { node, changelog }))
    }

    fn needs_constraints(&self, insert: &BoundInsert, rel: &Rel) -> SqlResult<bool> {
        let nested = self.config.nested;
        let columns = || rel.fields.iter().zip(&insert.fields);
        let not_null = columns().any(|(query, sink)| {
            let is_broken = query.ty.nullable && !sink.ty.nullable;
            is_broken || nested != NestedEnforcer::Ignore && query.ty.kind != sink.ty.kind
        });
        let fits_lengths = self.config.type_length == TypeLengthEnforcer::TrimPad;
        if fits_lengths && nested == NestedEnforcer::RowsAndCollections {
            let is_within = |f: &&Field| has_length(&f.ty, nested) && !has_length(&f.ty, NestedEnforcer::Rows);
            if let Some(field) = insert.fields.iter().find(is_within) {
                let what = format!(
                    "column '{}' of table '{}' is {}: lengths inside collections cannot be fitted by 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD'",
                    field.name,
                    insert.table.short_name(),
                    field.ty.kind
                );
                let remedy = "SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS', or 'table.exec.sink.type-length-enforcer' = 'ERROR'";
                return Err(SqlError::new(Step::Option, what).remedy(remedy));
            }
        }
        let lengths = self.config.type_length != TypeLengthEnforcer::Ignore
            && insert.fields.iter().any(|f| has_length(&f.ty, nested));
        Ok(not_null || lengths)
    }
}

/// Whether a condition or a limit stands between the sink and what makes the updates.
fn is_filtered(rel: &Rel) -> bool {
    match &rel.op {
        RelOp::Calc { condition: Some(_), .. } => true,
        // Another row may take the place of the one that is taken back.
        RelOp::Sort(sort) => sort.fetch.is_some(),
        RelOp::Calc { .. } | RelOp::Union { .. } | RelOp::Unnest { .. } => rel.inputs().into_iter().any(is_filtered),
        _ => false,
    }
}

/// Whether a type has a length to enforce, itself or within.
fn has_length(ty: &LogicalType, nested: NestedEnforcer) -> bool {
    use flott_core::types::MAX_LENGTH;
    let in_collections = nested == NestedEnforcer::RowsAndCollections;
    match &ty.kind {
        TypeKind::Varchar(n) | TypeKind::Varbinary(n) => *n != MAX_LENGTH,
        TypeKind::Char(_) | TypeKind::Binary(_) => true,
        TypeKind::Row(fields) => nested != NestedEnforcer::Ignore && fields.iter().any(|f| has_length(&f.ty, nested)),
        TypeKind::Array(e) | TypeKind::Multiset(e) => in_collections && has_length(e, nested),
        TypeKind::Map(k, v) => in_collections && (has_length(k, nested) || has_length(v, nested)),
        _ => false,
    }
}

fn constraints_description(insert: &BoundInsert, rel: &Rel) -> String {
    let names: Vec<&str> = rel
        .fields
        .iter()
        .zip(&insert.fields)
        .filter(|(query, sink)| query.ty.nullable && !sink.ty.nullable)
        .map(|(_, sink)| sink.name.as_str())
        .collect();
    format!("ConstraintEnforcer(NotNullEnforcer(fields=[{}]))", names.join(", "))
}
