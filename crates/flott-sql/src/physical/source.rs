//! Scans.

use super::{Need, NewNode, Output, Planner, SCAN_KIND, Stream};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Notation};
use crate::nodes::{ChangelogNormalizeSpec, WATERMARK_GENERATOR, WatermarkExpressionSpec, kind};
use crate::rel::{Changelog, ModifyKinds, Rel, Scan, names_of};
use flott_core::{Field, Options};
use flott_plan::{Partitioning, Role};
use flott_runtime::connector::{ChangelogMode, DEFAULT_ALIGNMENT_INTERVAL_MS, ScanSpec, TableSpec, WatermarkSpec};

fn wrong(scan: &Scan, error: &flott_core::options::OptionError) -> SqlError {
    SqlError::new(
        Step::Option,
        format!("table '{}': {error}", scan.table.spec.short_name()),
    )
}

impl Planner {
    /// Reads a table, and makes a whole changelog of what it yields where it yields less.
    pub(super) fn source(&mut self, scan: &Scan, rel: &Rel, need: Need) -> SqlResult<Stream> {
        let found = self.scans.iter().find(|(r, _)| r.op == rel.op);
        let stream = match found.map(|(_, stream)| stream.clone()) {
            Some(stream) => stream,
            None => {
                let stream = self.scan(scan, rel)?;
                self.scans.push((rel.clone(), stream.clone()));
                stream
            }
        };
        let key = &scan.table.spec.primary_key;
        let duplicates = scan.traits.changelog == ChangelogMode::Retract && self.config.cdc_events_duplicate;
        if duplicates && key.is_empty() {
            let text = format!(
                "'table.exec.source.cdc-events-duplicate' needs a PRIMARY KEY in every table of changes, but '{}' has none",
                scan.table.spec.short_name()
            );
            return Err(SqlError::new(Step::Option, text)
                .remedy("declare PRIMARY KEY (…) NOT ENFORCED in the table, or leave the option out"));
        }
        match scan.traits.changelog {
            ChangelogMode::Upsert => self.normalized(stream, rel, key, need),
            // An update must not look like a deletion and an insertion; what it replaces is remembered.
            _ if duplicates => {
                let stream = self.drop_update_before(stream, rel, false)?;
                self.normalized(stream, rel, key, need)
            }
            _ => Ok(stream),
        }
    }

    fn normalized(&mut self, stream: Stream, rel: &Rel, names: &[String], need: Need) -> SqlResult<Stream> {
        let position = |name: &String| rel.fields.iter().position(|f| f.name == *name);
        let key: Option<Vec<usize>> = names.iter().map(position).collect();
        let key = key
            .filter(|k| !k.is_empty())
            .ok_or_else(|| SqlError::new(Step::Plan, "a table of upserts is read without the columns of its key"))?;
        let changelog = Changelog {
            kinds: ModifyKinds::ALL,
            update_before: need == Need::UpdateBefore,
        };
        let output = self.plan.nodes[stream.outputs[0].node].output.clone();
        let spec = ChangelogNormalizeSpec {
            input: output.clone(),
            key: key.clone(),
            generate_update_before: changelog.update_before,
            ttl_ms: self.config.state_ttl_ms,
        };
        spec.validate().map_err(|e| SqlError::new(Step::Plan, e.to_string()))?;
        let id = self.skeleton.stateful("changelog-normalize", names);
        // The exchange has a number of its own, as in Flink.
        self.exec_id();
        let new = NewNode {
            kind: kind::CHANGELOG_NORMALIZE,
            name: "ChangelogNormalize",
            description: format!("ChangelogNormalize(key=[{}])", names.join(", ")),
            role: Role::Operator,
            id,
            parallelism: self.config.parallelism,
            output,
        };
        let node = self.add(new, &spec, changelog)?;
        self.exchange(&stream, node, &Partitioning::Hash { keys: key });
        Ok(Stream::one(Output { node, changelog }))
    }

    fn scan(&mut self, scan: &Scan, rel: &Rel) -> SqlResult<Stream> {
        let id = self.skeleton.source(&scan.table.spec.name);
        let parallelism = scan
            .options
            .positive("scan.parallelism")
            .map_err(|e| wrong(scan, &e))?
            .unwrap_or(self.config.parallelism);
        let watermark = match &scan.watermark {
            Some((_, expr)) => Some(self.watermark(scan, expr)?),
            None => None,
        };
        let table = TableSpec {
            options: scan.options.clone(),
            ..scan.table.spec.clone()
        };
        let description = description(scan, rel, watermark.as_ref());
        let spec = ScanSpec {
            fields: scan.physical.clone(),
            metadata: scan.metadata.clone(),
            watermark,
            partitions: scan.partitions.clone(),
            table,
        };
        let name = format!("Source: {}", spec.table.short_name());
        let new = NewNode {
            kind: SCAN_KIND,
            name: &name,
            description,
            role: Role::Source,
            id,
            parallelism,
            output: raw_fields(scan, rel),
        };
        let kinds = ModifyKinds::of(rel);
        let changelog = Changelog {
            kinds,
            update_before: kinds.update && scan.traits.changelog != ChangelogMode::Upsert,
        };
        let node = self.add(new, &spec, changelog)?;
        Ok(Stream::one(Output { node, changelog }))
    }

    fn watermark(&self, scan: &Scan, expr: &Expr) -> SqlResult<WatermarkSpec> {
        let options: &Options = &scan.options;
        let at = |e| wrong(scan, &e);
        let on_event = options
            .one_of("scan.watermark.emit.strategy", &["on-periodic", "on-event"])
            .map_err(at)?
            == Some(1)
            || self.config.watermark_interval_ms == Some(0);
        let own_timeout = options.duration_ms("scan.watermark.idle-timeout").map_err(at)?;
        let idle_timeout_ms = own_timeout.filter(|ms| *ms > 0).or(self.config.idle_timeout_ms);
        let alignment = alignment(scan)?;
        let spec = WatermarkExpressionSpec {
            expression: expr.clone(),
            time_zone: self.config.time_zone.clone(),
        };
        Ok(WatermarkSpec {
            kind: WATERMARK_GENERATOR.to_owned(),
            spec: serde_json::to_value(&spec)
                .map_err(|e| SqlError::new(Step::Plan, format!("the watermark cannot be written: {e}")))?,
            on_event,
            idle_timeout_ms,
            alignment,
        })
    }
}

/// The group of watermark alignment that a table's options put it in, with the largest drift and the update interval, in ms.
fn alignment(scan: &Scan) -> SqlResult<Option<(String, i64, i64)>> {
    const GROUP: &str = "scan.watermark.alignment.group";
    const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";
    const UPDATE_INTERVAL: &str = "scan.watermark.alignment.update-interval";
    let duration = |key| scan.options.duration_ms(key).map_err(|e| wrong(scan, &e));
    let (given, missing) = match (scan.options.get(GROUP), duration(MAX_DRIFT)?) {
        (Some(group), Some(drift_ms)) => {
            let interval_ms = duration(UPDATE_INTERVAL)?.unwrap_or(DEFAULT_ALIGNMENT_INTERVAL_MS);
            return Ok(Some((group.to_owned(), drift_ms, interval_ms)));
        }
        (None, None) => return Ok(None),
        (Some(_), None) => (GROUP, MAX_DRIFT),
        (None, Some(_)) => (MAX_DRIFT, GROUP),
    };
    let table = scan.table.spec.short_name();
    let text = format!("table '{table}': '{given}' needs '{missing}': watermarks are aligned by both together");
    Err(SqlError::new(Step::Option, text))
}

/// The scan's columns under the names of the table, not those of a projection that was dropped.
fn raw_fields(scan: &Scan, rel: &Rel) -> Vec<Field> {
    let metadata = rel.fields[scan.physical.len()..].iter().zip(&scan.metadata);
    scan.physical
        .iter()
        .cloned()
        .chain(metadata.map(|(field, key)| Field::new(field.name.clone(), key.ty.clone())))
        .collect()
}

fn description(scan: &Scan, rel: &Rel, watermark: Option<&WatermarkSpec>) -> String {
    let names = names_of(rel);
    let project: Vec<String> = scan.physical.iter().map(|f| field_text(f, &scan.table.spec)).collect();
    let mut text = format!(
        "TableSourceScan(table=[[{}, project=[{}]",
        scan.table.spec.name.replace('.', ", "),
        project.join(", ")
    );
    if !scan.metadata.is_empty() {
        let keys: Vec<&str> = scan.metadata.iter().map(|m| m.key.as_str()).collect();
        text.push_str(&format!(", metadata=[{}]", keys.join(", ")));
    }
    if let (Some((_, expr)), Some(spec)) = (&scan.watermark, watermark) {
        let strategy = if spec.on_event { "on-event" } else { "on-periodic" };
        text.push_str(&format!(
            ", watermark=[{}], watermarkEmitStrategy=[{strategy}]",
            expr.explain(&names, Notation::Prefix)
        ));
        if let Some(ms) = spec.idle_timeout_ms {
            text.push_str(&format!(", idleTimeout=[{ms}]"));
        }
    }
    if let Some(filter) = &scan.partitions {
        text.push_str(&format!(", partitionFilter=[{filter}]"));
    }
    text.push_str(&format!("]], fields=[{}])", names.join(", ")));
    text
}

/// `bid.auction, bid.price` for a ROW of which only some fields are read.
fn field_text(field: &Field, table: &TableSpec) -> String {
    use flott_core::TypeKind;
    let whole = table.columns.iter().any(|c| c == field);
    match &field.ty.kind {
        TypeKind::Row(inner) if !whole => {
            let names: Vec<&str> = inner.iter().map(|f| f.name.as_str()).collect();
            format!("{}.({})", field.name, names.join(", "))
        }
        _ => field.name.clone(),
    }
}
