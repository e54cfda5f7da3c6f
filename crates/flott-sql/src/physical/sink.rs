//! Sinks: which changes they are fed, constraints, exchange by key, writer.

use super::{Need, NewNode, Output, Planner, SINK_KIND, Stream};
use crate::binder::BoundInsert;
use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{DropUpdateBeforeSpec, SinkConstraintsSpec, TypeLengthEnforcer, kind};
use crate::rel::{Changelog, ModifyKinds, Rel, RelOp};
use flott_core::{Field, TypeKind};
use flott_plan::{Partitioning, Role};
use flott_runtime::connector::{ChangelogMode, SinkSpec};

impl Planner {
    pub(super) fn sink(&mut self, insert: &BoundInsert, rel: &Rel) -> SqlResult<()> {
        let id = self.skeleton.sink(&insert.table.name);
        let need = match insert.changelog {
            ChangelogMode::Upsert => Need::UpdateAfter,
            ChangelogMode::Append | ChangelogMode::Retract => Need::UpdateBefore,
        };
        let mut stream = self.relation(rel, need)?;
        if need == Need::UpdateAfter && stream.changelog().update_before {
            stream = self.drop_update_before(stream, rel, is_filtered(rel))?;
        }
        let parallelism = insert
            .table
            .options
            .positive("sink.parallelism")
            .map_err(|e| SqlError::new(Step::Option, format!("table '{}': {e}", insert.table.short_name())))?;
        let upstream = self.parallelism_of(&stream);
        let parallelism = parallelism.unwrap_or(upstream);
        let partitioning = self.sink_partitioning(insert, rel, &stream, parallelism);
        let changelog = stream.changelog();
        let exec_id = self.exec_id();
        let mut partitioning = Some(partitioning);
        if self.needs_constraints(insert, rel) {
            let new = NewNode {
                kind: kind::SINK_CONSTRAINTS,
                name: "ConstraintEnforcer",
                description: constraints_description(insert, rel),
                role: Role::Operator,
                id: self.skeleton.stateless(kind::SINK_CONSTRAINTS),
                parallelism,
                output: insert.fields.clone(),
            };
            let spec = SinkConstraintsSpec {
                table: insert.table.short_name().to_owned(),
                columns: insert.fields.clone(),
                not_null: self.config.not_null,
                type_length: self.config.type_length,
            };
            let node = self.add_named(new, format!("ConstraintEnforcer[{exec_id}]"), &spec, changelog)?;
            match partitioning.take().flatten() {
                Some(exchange) => self.exchange(&stream, node, &exchange),
                None => self.connect(&stream, node),
            }
            stream = Stream::one(Output { node, changelog });
        }
        let spec = SinkSpec {
            table: insert.table.clone(),
            fields: insert.fields.clone(),
            metadata: insert.metadata.clone(),
            updating: !changelog.kinds.is_append(),
        };
        let names: Vec<&str> = insert.fields.iter().map(|f| f.name.as_str()).collect();
        let new = NewNode {
            kind: SINK_KIND,
            name: "",
            description: format!("Sink(table=[{}], fields=[{}])", insert.table.name, names.join(", ")),
            role: Role::Sink,
            id,
            parallelism,
            output: insert.fields.clone(),
        };
        let name = format!("{}[{exec_id}]: Writer", insert.table.short_name());
        let node = self.add_named(new, name, &spec, changelog)?;
        match partitioning.flatten() {
            Some(exchange) => self.exchange(&stream, node, &exchange),
            None => self.connect(&stream, node),
        }
        Ok(())
    }

    /// The exchange before a sink: by its key where its parallelism is another one, so that a key's rows stay in order.
    fn sink_partitioning(
        &self,
        insert: &BoundInsert,
        rel: &Rel,
        stream: &Stream,
        parallelism: usize,
    ) -> Option<Partitioning> {
        let same = stream
            .outputs
            .iter()
            .all(|o| self.plan.nodes[o.node].parallelism == parallelism);
        if same || insert.table.primary_key.is_empty() {
            return None;
        }
        let keys: Option<Vec<usize>> = insert
            .table
            .primary_key
            .iter()
            .map(|k| rel.fields.iter().position(|f| f.name == *k))
            .collect();
        keys.map(|keys| Partitioning::Hash { keys })
    }

    /// `as_delete`: a row that is taken back is deleted, as its new content may have been filtered out.
    fn drop_update_before(&mut self, stream: Stream, rel: &Rel, as_delete: bool) -> SqlResult<Stream> {
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

    fn needs_constraints(&self, insert: &BoundInsert, rel: &Rel) -> bool {
        let not_null = rel
            .fields
            .iter()
            .zip(&insert.fields)
            .any(|(query, sink)| query.ty.nullable && !sink.ty.nullable);
        let lengths = self.config.type_length != TypeLengthEnforcer::Ignore && insert.fields.iter().any(has_length);
        not_null || lengths
    }
}

/// Whether a condition stands between the sink and what makes the updates.
fn is_filtered(rel: &Rel) -> bool {
    match &rel.op {
        RelOp::Calc { condition: Some(_), .. } => true,
        RelOp::Calc { .. } | RelOp::Union { .. } | RelOp::Unnest { .. } => rel.inputs().into_iter().any(is_filtered),
        _ => false,
    }
}

fn has_length(field: &Field) -> bool {
    use flott_core::types::MAX_LENGTH;
    match field.ty.kind {
        TypeKind::Varchar(n) | TypeKind::Varbinary(n) => n != MAX_LENGTH,
        TypeKind::Char(_) | TypeKind::Binary(_) => true,
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
