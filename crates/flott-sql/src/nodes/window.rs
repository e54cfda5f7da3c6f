//! Windows: how time is cut ([`WindowSpec`]), aggregates in windows ([`WindowAggregateSpec`]), and windows as columns
//! ([`WindowTableFunctionSpec`]).

use super::aggregate::{AggregateCall, PartialColumn, check_aggregates, partial_columns, result_fields, set_columns};
use super::{SpecError, aggregate, check_columns};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};

/// How event time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowSpec {
    /// Adjacent windows.
    Tumble {
        /// Length.
        size_ms: i64,
        /// Shift against the epoch.
        offset_ms: i64,
    },
    /// Overlapping windows; the length is a multiple of the slide.
    Hop {
        /// Length.
        size_ms: i64,
        /// Distance between starts.
        slide_ms: i64,
        /// Shift against the epoch.
        offset_ms: i64,
    },
    /// Windows of one start that grow by a step up to a length, which is a multiple of it.
    Cumulate {
        /// Greatest length.
        size_ms: i64,
        /// By how much they grow.
        step_ms: i64,
        /// Shift against the epoch.
        offset_ms: i64,
    },
    /// From the first row of a key until no row has come for the gap.
    Session {
        /// The gap.
        gap_ms: i64,
    },
}

impl WindowSpec {
    /// Name of the window function.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Tumble { .. } => "TUMBLE",
            Self::Hop { .. } => "HOP",
            Self::Cumulate { .. } => "CUMULATE",
            Self::Session { .. } => "SESSION",
        }
    }

    /// Whether windows of different keys differ, so that they cannot be cut into slices.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// Length of a window: the greatest one, of a SESSION the gap.
    pub fn size_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } | Self::Hop { size_ms, .. } | Self::Cumulate { size_ms, .. } => size_ms,
            Self::Session { gap_ms } => gap_ms,
        }
    }

    /// Length of a slice, which is also the distance between window ends.
    pub fn slice_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } => size_ms,
            Self::Hop { slide_ms, .. } => slide_ms,
            Self::Cumulate { step_ms, .. } => step_ms,
            Self::Session { gap_ms } => gap_ms,
        }
    }

    /// Shift against the epoch.
    pub fn offset_ms(&self) -> i64 {
        match *self {
            Self::Tumble { offset_ms, .. } | Self::Hop { offset_ms, .. } | Self::Cumulate { offset_ms, .. } => {
                offset_ms
            }
            Self::Session { .. } => 0,
        }
    }

    /// Checks Flink's rules: positive sizes, the greatest size of a CUMULATE a multiple of the step, offset smaller than
    /// the size.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn validate(&self) -> Result<(), SpecError> {
        let (size, slice, offset) = (self.size_ms(), self.slice_ms(), self.offset_ms());
        let function = self.function();
        let broken = |text: String| Err(SpecError::Window(text));
        if size <= 0 || slice <= 0 {
            let what = match self {
                Self::Tumble { .. } => "size",
                Self::Hop { .. } => "size and slide",
                Self::Cumulate { .. } => "size and step",
                Self::Session { .. } => "gap",
            };
            let got = if size == slice {
                format!("{size} ms")
            } else {
                format!("{size} ms and {slice} ms")
            };
            return broken(format!("{function} needs a positive {what}, got {got}"));
        }
        if matches!(self, Self::Cumulate { .. }) && size % slice != 0 {
            return broken(format!(
                "CUMULATE needs a size that is an integral multiple of the step, got size {size} ms and step {slice} ms"
            ));
        }
        if offset.unsigned_abs() >= size.unsigned_abs() {
            return broken(format!(
                "{function} needs an offset smaller than its size, got offset {offset} ms and size {size} ms"
            ));
        }
        Ok(())
    }

    /// Checks that windows are made of whole slices: the size of a HOP is a multiple of the slide.
    ///
    /// # Errors
    /// If it is not.
    pub fn validate_slices(&self) -> Result<(), SpecError> {
        match *self {
            Self::Hop { size_ms, slide_ms, .. } if size_ms % slide_ms != 0 => Err(SpecError::Window(format!(
                "HOP needs a size that is an integral multiple of the slide to be aggregated, got size {size_ms} ms and slide {slide_ms} ms"
            ))),
            _ => Ok(()),
        }
    }
}

/// What a window is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeAttribute {
    /// A TIMESTAMP or TIMESTAMP_LTZ column with watermarks.
    EventTime {
        /// Its position.
        column: usize,
    },
    /// The clock when the row is met.
    ProcessingTime,
    /// The input was windowed before, by the same function: its `window_end` column tells the window.
    Attached {
        /// Position of `window_end`.
        window_end: usize,
        /// Whether those windows were cut in the session's wall-clock time.
        local_time: bool,
        /// Whether those windows were cut by the clock, and so fire by it.
        #[serde(default)]
        proctime: bool,
    },
}

/// When windows fire besides at their end (`table.exec.emit.*`), as a changelog; only windows that rows bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmitSpec {
    /// Before the end: this long after a change; 0: after every row.
    pub early_ms: Option<u64>,
    /// Behind the end: this long after a change; 0: after every row.
    pub late_ms: Option<u64>,
    /// How long behind its end a window takes rows, where there is `late_ms`.
    pub lateness_ms: u64,
    /// Whether readers need -U before +U.
    pub update_before: bool,
}

impl TimeAttribute {
    /// Whether windows fire by the clock.
    pub fn is_processing_time(&self) -> bool {
        matches!(self, Self::ProcessingTime | Self::Attached { proctime: true, .. })
    }
}

/// Which property of its window a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowPropertyKind {
    /// Its first instant, TIMESTAMP(3) in the session's wall-clock time.
    Start,
    /// The first instant after it, TIMESTAMP(3) in the session's wall-clock time.
    End,
    /// Its last millisecond, of the time attribute's type.
    Time,
}

/// An output column with a property of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowProperty {
    /// Which one.
    pub kind: WindowPropertyKind,
    /// Name of the column.
    pub name: String,
}

/// Aggregates per key and window; one spec for one phase and for both of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowAggregateSpec {
    /// Columns of the rows that are aggregated (in two phases: of the local node's input).
    pub input: Vec<Field>,
    /// Grouping columns besides the window.
    pub keys: Vec<usize>,
    /// Aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// The windows.
    pub window: WindowSpec,
    /// What they are cut by.
    pub time: TimeAttribute,
    /// Window columns of the output, after keys and aggregates.
    pub properties: Vec<WindowProperty>,
    /// `table.local-time-zone`.
    pub time_zone: String,
    /// Whether the input holds other kinds than +I.
    #[serde(default)]
    pub input_retracts: bool,
    /// `GROUP BY TUMBLE(…)` and alike: its time property may be NULL, and it has one phase.
    #[serde(default)]
    pub legacy: bool,
    /// Firing before and behind the end.
    #[serde(default)]
    pub emit: Option<EmitSpec>,
}

impl WindowAggregateSpec {
    /// Whether windows are cut in the session's wall-clock time: for processing time and TIMESTAMP_LTZ.
    pub fn is_local_time(&self) -> bool {
        is_local_time(&self.time, &self.input)
    }

    /// Columns of the result: keys, aggregates, properties.
    pub fn output(&self) -> Vec<Field> {
        let mut fields = result_fields(&self.input, &self.keys, &self.aggregates);
        let local = self.is_local_time();
        fields.extend(self.properties.iter().map(|p| {
            let field = window_property_field(p, local);
            let nullable = self.legacy && p.kind == WindowPropertyKind::Time;
            Field::new(field.name, field.ty.with_nullable(nullable))
        }));
        fields
    }

    /// For windows that are not made of whole slices, or leave gaps, or overlap and fire more than once: the function that
    /// gives rows their windows, and the aggregate over rows that bring them along.
    pub fn expanded(&self) -> Option<(WindowTableFunctionSpec, Self)> {
        let WindowSpec::Hop { size_ms, slide_ms, .. } = self.window else {
            return None;
        };
        let is_attached = matches!(self.time, TimeAttribute::Attached { .. });
        let is_sliced = size_ms % slide_ms == 0 && self.emit.is_none();
        if is_attached || is_sliced {
            return None;
        }
        let function = WindowTableFunctionSpec {
            input: self.input.clone(),
            window: self.window,
            time: self.time,
            partition: vec![],
            time_zone: self.time_zone.clone(),
        };
        let aggregate = Self {
            input: function.output(),
            time: TimeAttribute::Attached {
                window_end: self.input.len() + 1,
                local_time: self.is_local_time(),
                proctime: self.time.is_processing_time(),
            },
            ..self.clone()
        };
        Some((function, aggregate))
    }

    /// Columns between the phases: keys, partial columns, distinct values, `$slice_end`.
    pub fn local_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .chain(set_columns(&self.input, &self.aggregates, self.input_retracts))
                .map(PartialColumn::field),
        );
        fields.push(Field::new("$slice_end", LogicalType::not_null(TypeKind::BigInt)));
        fields
    }

    /// Positions of the keys in [`Self::local_output`], for the exchange between the phases.
    pub fn local_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).collect()
    }

    /// Whether the aggregates can be computed in two phases: event time, no MIN or MAX over input that retracts.
    pub fn supports_two_phases(&self) -> bool {
        !self.time.is_processing_time()
            && !self.legacy
            && !self.window.is_session()
            && aggregate::supports_two_phases(&self.aggregates, self.input_retracts)
    }

    /// Checks columns, window and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.window.validate()?;
        if !matches!(self.time, TimeAttribute::Attached { .. }) && !self.legacy {
            self.window.validate_slices()?;
        }
        check_columns("window aggregate's keys", &self.keys, &self.input)?;
        match self.time {
            TimeAttribute::EventTime { column } | TimeAttribute::Attached { window_end: column, .. } => {
                check_columns("window's time attribute", &[column], &self.input)?;
            }
            TimeAttribute::ProcessingTime => {}
        }
        self.check_merges()?;
        check_aggregates(&self.aggregates, &self.input)
    }

    /// Windows that are put together of slices or sessions need aggregates that can be, as in Flink.
    fn check_merges(&self) -> Result<(), SpecError> {
        let is_json = |a: &&AggregateCall| a.function.starts_with("JSON_");
        let is_whole =
            matches!(self.window, WindowSpec::Tumble { .. }) || matches!(self.time, TimeAttribute::Attached { .. });
        let refused = |call: &AggregateCall, reason: &str| SpecError::Aggregate {
            call: format!("{}(…)", call.function),
            reason: reason.to_owned(),
        };
        if let Some(call) = self.aggregates.iter().find(is_json).filter(|_| self.legacy) {
            return Err(refused(
                call,
                "GROUP BY TUMBLE(…), HOP(…) and SESSION(…) do not take it, as in Flink; use a window function in FROM",
            ));
        }
        if is_whole {
            return Ok(());
        }
        if let Some(call) = aggregate::unmergeable(&self.aggregates) {
            return Err(refused(
                call,
                "partial results cannot be put together, which windows that overlap, grow or merge need, as in Flink; \
                 use TUMBLE, or ARRAY_AGG and an element of it",
            ));
        }
        let is_list = |a: &&AggregateCall| a.distinct && a.function == "LISTAGG";
        match self.aggregates.iter().find(is_list).filter(|_| !self.legacy) {
            Some(call) => Err(refused(
                call,
                "DISTINCT texts cannot be put together, which windows that overlap, grow or merge need, as in Flink; \
                 use TUMBLE, or COLLECT(DISTINCT …)",
            )),
            None => Ok(()),
        }
    }
}

/// Windows as columns: every row once per window that holds it, with `window_start`, `window_end`, `window_time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowTableFunctionSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The windows.
    pub window: WindowSpec,
    /// What they are cut by; never [`TimeAttribute::Attached`].
    pub time: TimeAttribute,
    /// Columns by which a SESSION is told apart.
    #[serde(default)]
    pub partition: Vec<usize>,
    /// `table.local-time-zone`.
    pub time_zone: String,
}

impl WindowTableFunctionSpec {
    /// Whether windows are cut in the session's wall-clock time: for processing time and TIMESTAMP_LTZ.
    pub fn is_local_time(&self) -> bool {
        is_local_time(&self.time, &self.input)
    }

    /// The input's columns and the three of the window.
    pub fn output(&self) -> Vec<Field> {
        let local = self.is_local_time();
        let property = |kind, name: &str| {
            window_property_field(
                &WindowProperty {
                    kind,
                    name: name.into(),
                },
                local,
            )
        };
        let mut fields = self.input.clone();
        fields.push(property(WindowPropertyKind::Start, "window_start"));
        fields.push(property(WindowPropertyKind::End, "window_end"));
        fields.push(property(WindowPropertyKind::Time, "window_time"));
        fields
    }
}

fn is_local_time(time: &TimeAttribute, input: &[Field]) -> bool {
    match *time {
        TimeAttribute::ProcessingTime => true,
        TimeAttribute::EventTime { column } => matches!(input[column].ty.kind, TypeKind::TimestampLtz(_)),
        TimeAttribute::Attached { local_time, .. } => local_time,
    }
}

fn window_property_field(property: &WindowProperty, local_time: bool) -> Field {
    let kind = match property.kind {
        WindowPropertyKind::Time if local_time => TypeKind::TimestampLtz(3),
        _ => TypeKind::Timestamp(3),
    };
    Field::new(property.name.clone(), LogicalType::not_null(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> WindowAggregateSpec {
        let call = |function: &str, args: &[usize], ty: LogicalType, name: &str| AggregateCall {
            function: function.into(),
            args: args.to_vec(),
            distinct: false,
            filter: None,
            ty,
            name: name.into(),
            detail: Default::default(),
        };
        WindowAggregateSpec {
            input: vec![
                Field::new("site", LogicalType::string()),
                Field::new("n", LogicalType::int()),
                Field::new("ts", LogicalType::new(TypeKind::TimestampLtz(3))),
            ],
            keys: vec![0],
            aggregates: vec![
                call("SUM", &[1], LogicalType::int(), "total"),
                call("AVG", &[1], LogicalType::int(), "mean"),
                call("COUNT", &[], LogicalType::not_null(TypeKind::BigInt), "n"),
            ],
            window: WindowSpec::Tumble {
                size_ms: 60_000,
                offset_ms: 0,
            },
            time: TimeAttribute::EventTime { column: 2 },
            properties: vec![
                WindowProperty {
                    kind: WindowPropertyKind::End,
                    name: "window_end".into(),
                },
                WindowProperty {
                    kind: WindowPropertyKind::Time,
                    name: "window_time".into(),
                },
            ],
            time_zone: "UTC".into(),
            input_retracts: false,
            legacy: false,
            emit: None,
        }
    }

    fn line(fields: &[Field]) -> String {
        let fields: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name, f.ty)).collect();
        fields.join(", ")
    }

    #[test]
    fn the_rows_of_both_phases_follow_from_one_spec() {
        let spec = spec();
        spec.validate().unwrap();
        assert_eq!(
            line(&spec.local_output()),
            "site STRING, sum$0 BIGINT, sum$1 BIGINT, count$1 BIGINT NOT NULL, count$2 BIGINT NOT NULL, $slice_end BIGINT NOT NULL"
        );
        assert_eq!(
            line(&spec.output()),
            "site STRING, total INT, mean INT, n BIGINT NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP_LTZ(3) NOT NULL"
        );
        assert!(spec.supports_two_phases());
    }

    #[test]
    fn a_spec_survives_its_text() {
        let spec = spec();
        let text = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<WindowAggregateSpec>(text).unwrap(), spec);
    }

    #[test]
    fn what_cannot_run_says_why() {
        let uneven = WindowSpec::Hop {
            size_ms: 10_000,
            slide_ms: 3_000,
            offset_ms: 0,
        };
        assert_eq!(
            uneven.validate_slices().unwrap_err().to_string(),
            "HOP needs a size that is an integral multiple of the slide to be aggregated, got size 10000 ms and slide 3000 ms"
        );
        let mut spec = spec();
        spec.aggregates[0].args = vec![0];
        assert_eq!(
            spec.validate().unwrap_err().to_string(),
            "the aggregate SUM(STRING) cannot run: it takes one numeric argument; CAST it"
        );
        spec.keys = vec![7];
        assert!(matches!(
            spec.validate(),
            Err(SpecError::Column {
                index: 7,
                columns: 3,
                ..
            })
        ));
    }
}
