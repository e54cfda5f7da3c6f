//! Marked batches: windows that end neither by time nor by count, but when a record says so.
//!
//! A `Trigger` of one's own on global windows. Flink's triggers keep state by descriptor; here it is a type, of which there is a value for each key and
//! window. A window whose marker never comes stays open, as in Flink, and what is in it is given up at the end of the input.

use crate::fields;
use flott::prelude::*;
use serde::{Deserialize, Serialize};

/// Something that a machine reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
pub enum Report {
    /// A piece was made.
    Piece(String),
    /// The batch is complete.
    EndOfBatch,
}

/// A report and the machine that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
pub struct MachineReport {
    machine: String,
    report: Report,
}

impl MachineReport {
    /// A line `machine,piece`, or `machine,END`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [machine, report] = fields(line)?;
        Ok(Self {
            machine: machine.to_owned(),
            report: match report {
                "END" => Report::EndOfBatch,
                piece => Report::Piece(piece.to_owned()),
            },
        })
    }
}

/// Fires on the marker, and begins anew.
#[derive(Debug, Clone, Copy)]
struct OnMarker;

impl<W: Window> Trigger<MachineReport, W> for OnMarker {
    type State = NoState;

    fn on_element(
        &mut self,
        value: &MachineReport,
        _timestamp: i64,
        _window: &W,
        _ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(match value.report {
            Report::EndOfBatch => TriggerResult::FireAndPurge,
            Report::Piece(_) => TriggerResult::Continue,
        })
    }
}

/// A text for each batch.
pub fn marked_batches(reports: &DataStream<MachineReport>) -> DataStream<String> {
    reports
        .key_by(|report| report.machine.clone())
        .window(GlobalWindows)
        .trigger(OnMarker)
        .apply(|machine, _window, reports, out| {
            let pieces: Vec<String> = reports
                .filter_map(|report| match report.report {
                    Report::Piece(piece) => Some(piece),
                    Report::EndOfBatch => None,
                })
                .collect();
            out.collect(format!("{machine}: {} pieces ({})", pieces.len(), pieces.join(" ")));
        })
}
