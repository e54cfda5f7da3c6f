//! Windows: how time is cut ([`WindowSpec`]), aggregates in windows ([`WindowAggregateSpec`]), and windows as columns
//! ([`WindowTableFunctionSpec`]).

use super::aggregate::{AggregateCall, PartialColumn, check_aggregates, partial_columns, result_fields};
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
}

impl WindowSpec {
    /// Length of a window.
    pub fn size_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } | Self::Hop { size_ms, .. } => size_ms,
        }
    }

    /// Length of a slice, which is also the distance between window starts.
    pub fn slice_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } => size_ms,
            Self::Hop { slide_ms, .. } => slide_ms,
        }
    }

    /// Shift against the epoch.
    pub fn offset_ms(&self) -> i64 {
        match *self {
            Self::Tumble { offset_ms, .. } | Self::Hop { offset_ms, .. } => offset_ms,
        }
    }

    /// Checks Flink's rules: positive sizes, size a multiple of the slide, offset smaller than the size.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn validate(&self) -> Result<(), SpecError> {
        let (size, slide, offset) = (self.size_ms(), self.slice_ms(), self.offset_ms());
        let function = match self {
            Self::Tumble { .. } => "TUMBLE",
            Self::Hop { .. } => "HOP",
        };
        let broken = |text: String| Err(SpecError::Window(text));
        if size <= 0 || slide <= 0 {
            return broken(format!(
                "{function} needs a positive size and slide, got size {size} ms and slide {slide} ms"
            ));
        }
        if size % slide != 0 {
            return broken(format!(
                "HOP needs a size that is an integral multiple of the slide, got size {size} ms and slide {slide} ms"
            ));
        }
        if offset.unsigned_abs() >= size.unsigned_abs() {
            return broken(format!(
                "{function} needs an offset smaller than its size, got offset {offset} ms and size {size} ms"
            ));
        }
        Ok(())
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
    },
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
        fields.extend(self.properties.iter().map(|p| window_property_field(p, local)));
        fields
    }

    /// Columns between the phases: keys, partial columns, `$slice_end`.
    pub fn local_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .map(PartialColumn::field),
        );
        fields.push(Field::new("$slice_end", LogicalType::not_null(TypeKind::BigInt)));
        fields
    }

    /// Positions of the keys in [`Self::local_output`], for the exchange between the phases.
    pub fn local_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).collect()
    }

    /// Whether the aggregates can be computed in two phases: event time, no DISTINCT, no MIN or MAX over input that
    /// retracts.
    pub fn supports_two_phases(&self) -> bool {
        !matches!(self.time, TimeAttribute::ProcessingTime)
            && aggregate::supports_two_phases(&self.aggregates, self.input_retracts)
    }

    /// Checks columns, window and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.window.validate()?;
        check_columns("window aggregate's keys", &self.keys, &self.input)?;
        match self.time {
            TimeAttribute::EventTime { column } | TimeAttribute::Attached { window_end: column, .. } => {
                check_columns("window's time attribute", &[column], &self.input)?;
            }
            TimeAttribute::ProcessingTime => {}
        }
        check_aggregates(&self.aggregates, &self.input)
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
            uneven.validate().unwrap_err().to_string(),
            "HOP needs a size that is an integral multiple of the slide, got size 10000 ms and slide 3000 ms"
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
