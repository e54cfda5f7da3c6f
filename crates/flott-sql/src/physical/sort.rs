//! ORDER BY and LIMIT.

use super::{Need, NewNode, Output, Planner, Stream, append, field_names};
use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{LimitSpec, OverOrder, SortKey, TemporalSortSpec, kind};
use crate::rel::{Changelog, Course, ModifyKinds, Rel, Sort, TimeKind, courses, order_text, upsert_keys};
use flott_plan::{Partitioning, Role};
use serde::Serialize;

/// The key of rows that are updated only, and whose order only rises with it: Flink's UpdateFastStrategy.
fn rising_key(sort: &Sort) -> Option<Vec<usize>> {
    let kinds = ModifyKinds::of(&sort.input);
    if !kinds.update || kinds.delete || sort.order.is_empty() {
        return None;
    }
    let courses = courses(&sort.input)?;
    let rises = |key: &SortKey| match courses[key.column] {
        Course::Constant => true,
        Course::Growing => key.descending,
        Course::Falling => !key.descending,
        Course::Unknown => false,
    };
    // What is NULL at first must stand last.
    let is_last = |key: &SortKey| {
        courses[key.column] == Course::Constant || key.nulls_last || !sort.input.fields[key.column].ty.nullable
    };
    let keys = upsert_keys(&sort.input).into_iter();
    let key = keys
        .map(|key| key.into_iter().collect::<Vec<_>>())
        .find(|key| !key.is_empty());
    key.filter(|_| sort.order.iter().all(|key| rises(key) && is_last(key)))
}

fn strategy_text(upsert_key: Option<&[usize]>) -> String {
    let Some(key) = upsert_key else { return String::new() };
    let columns: Vec<String> = key.iter().map(ToString::to_string).collect();
    format!(", strategy=[UpdateFastStrategy[{}]]", columns.join(","))
}

impl Planner {
    pub(super) fn sort(&mut self, rel: &Rel, sort: &Sort, need: Need) -> SqlResult<Stream> {
        match sort.fetch {
            Some(fetch) => self.limit(rel, sort, fetch),
            None => self.temporal_sort(rel, sort, need),
        }
    }

    fn limit(&mut self, rel: &Rel, sort: &Sort, fetch: u64) -> SqlResult<Stream> {
        let input = &sort.input;
        let names = field_names(&input.fields);
        let (kind, name) = match sort.order.is_empty() {
            true => (kind::LIMIT, "Limit"),
            false => (kind::SORT_LIMIT, "SortLimit"),
        };
        let columns: Vec<String> = sort.order.iter().map(|k| names[k.column].clone()).collect();
        let id = self.skeleton.stateful(name, &columns);
        let upsert_key = rising_key(sort);
        let stream = match &upsert_key {
            Some(_) => self.relation(input, Need::UpdateAfter)?,
            None => self.relation(input, Need::UpdateBefore)?,
        };
        let spec = LimitSpec {
            input: input.schema(),
            order: sort.order.clone(),
            offset: sort.offset,
            fetch,
            input_retracts: !ModifyKinds::of(input).is_append(),
            upsert_key,
            ttl_ms: self.config.state_ttl_ms,
        };
        let order = match sort.order.is_empty() {
            true => String::new(),
            false => format!("orderBy=[{}], ", order_text(&sort.order, &names)),
        };
        let new = NewNode {
            kind,
            name,
            description: format!(
                "{name}({order}offset=[{}], fetch=[{fetch}]{})",
                sort.offset,
                strategy_text(spec.upsert_key.as_deref())
            ),
            role: Role::Operator,
            id,
            parallelism: 1,
            output: rel.schema(),
        };
        let kinds = ModifyKinds::of(rel);
        let changelog = Changelog {
            kinds,
            update_before: kinds.update,
        };
        self.behind_global(new, &spec, &stream, changelog)
    }

    fn temporal_sort(&mut self, rel: &Rel, sort: &Sort, need: Need) -> SqlResult<Stream> {
        let input = &sort.input;
        let Some((first, further)) = sort.order.split_first() else {
            return self.relation(input, need);
        };
        let field = &input.fields[first.column];
        let time = match field.time {
            _ if first.descending => None,
            Some(TimeKind::Proctime) => Some(OverOrder::ProcessingTime),
            Some(TimeKind::Rowtime) => Some(OverOrder::EventTime { column: first.column }),
            None => None,
        };
        let Some(time) = time else {
            // The binder has refused such an order.
            return Err(SqlError::new(
                Step::Plan,
                format!("a stream cannot be sorted by '{}'", field.name),
            ));
        };
        if !ModifyKinds::of(input).is_append() {
            return Err(SqlError::new(
                Step::Unsupported,
                "ORDER BY time reads inserts only, as in Flink, but this query's input brings updates or deletions",
            )
            .remedy("sort before the rows are aggregated, or aggregate in windows"));
        }
        if time == OverOrder::ProcessingTime && further.is_empty() {
            // Rows come in this order.
            return self.relation(input, need);
        }
        let names = field_names(&input.fields);
        let id = self.skeleton.stateful("temporal-sort", &[names[first.column].clone()]);
        let stream = self.relation(input, Need::UpdateBefore)?;
        let spec = TemporalSortSpec {
            input: input.schema(),
            time,
            order: further.to_vec(),
        };
        let new = NewNode {
            kind: kind::TEMPORAL_SORT,
            name: "TemporalSort",
            description: format!("TemporalSort(orderBy=[{}])", order_text(&sort.order, &names)),
            role: Role::Operator,
            id,
            parallelism: 1,
            output: rel.schema(),
        };
        self.behind_global(new, &spec, &stream, append())
    }

    /// Adds a node that sees all rows of a stream.
    fn behind_global<S: Serialize>(
        &mut self,
        new: NewNode<'_>,
        spec: &S,
        stream: &Stream,
        changelog: Changelog,
    ) -> SqlResult<Stream> {
        // The exchange has a number of its own, as in Flink.
        self.exec_id();
        let node = self.add(new, spec, changelog)?;
        self.exchange(stream, node, &Partitioning::Global);
        Ok(Stream::one(Output { node, changelog }))
    }
}
