//! State of tasks, read before they start and written at checkpoints.

use crate::coordinator::SubtaskId;
use crate::deploy::RestoredStates;
use crate::error::ClusterError;
use crate::protocol::{OperatorStates, WrittenPart};
use flott_checkpoint::{Root, StateWriter};
use flott_core::{CheckpointId, OperatorId};
use flott_plan::NodeId;
use flott_runtime::exchange::InFlight;
use flott_runtime::task::{Captured, SPLITS_STATE};
use flott_runtime::{FailureLabel, TaskError};
use flott_state::persist::{ConfirmationTicket, EncodedSnapshots, encode_snapshots, load_beyond};
use flott_state::{PreloadedState, RestoredState, RunMode, StateError};

/// Reads what subtasks start from; `loaded`: what was read of an operator before, of all the same subtasks; `preloaded`: tables of a subtask that
/// hold some of its state.
///
/// # Errors
/// If files are damaged or missing.
pub async fn load_states(
    root: &Root,
    states: Vec<OperatorStates>,
    loaded: impl Fn(OperatorId) -> Option<Vec<RestoredState>>,
    mut preloaded: impl FnMut(NodeId, usize) -> PreloadedState,
) -> Result<RestoredStates, TaskError> {
    let mut all = RestoredStates::new();
    for of_operator in states {
        let count = of_operator.subtasks.len();
        let before = loaded(of_operator.operator.id).filter(|states| states.len() == count);
        let mut before = before.into_iter().flatten();
        for subtask in &of_operator.subtasks {
            let mut state = match before.next() {
                Some(state) => state,
                None => {
                    let preloaded = preloaded(of_operator.node, subtask.index);
                    load_beyond(root, &of_operator.operator, subtask, preloaded).await?
                }
            };
            if let Some(checkpoint) = of_operator.continued {
                state.continue_from(checkpoint);
            }
            // The job master has read these: they come back as splits.
            let _ = state.operator_state(SPLITS_STATE);
            all.insert((of_operator.node, subtask.index), state);
        }
    }
    Ok(all)
}

/// Bytes of a subtask's state that go into a manifest where there is no place for files, as in Flink.
pub(crate) const LARGEST_INLINE_BYTES: usize = 5 << 20;

/// Encodes and writes what a subtask has captured; without a writer it goes whole into the manifest.
///
/// # Errors
/// If it cannot be encoded or written, or is not wanted any more, or is too large for a manifest.
pub(crate) async fn write_part(
    writer: Option<&StateWriter>,
    mode: RunMode,
    id: CheckpointId,
    (_, subtask): SubtaskId,
    captured: Captured,
) -> Result<(WrittenPart, ConfirmationTicket), ClusterError> {
    let (processed_bytes, is_unaligned) = (captured.processed_bytes, captured.is_unaligned);
    let encoding = move || -> Result<EncodedSnapshots, TaskError> {
        let in_flight = captured.in_flight.into_iter().map(InFlight::encode);
        let in_flight = in_flight.collect::<Result<_, TaskError>>()?;
        Ok(encode_snapshots(id, subtask, captured.operators, mode)?.with_in_flight(in_flight))
    };
    let encoded = tokio::task::spawn_blocking(encoding).await;
    let encoded = encoded.map_err(|e| TaskError::caused(FailureLabel::Internal, "state could not be encoded", e))??;
    let written = match writer {
        Some(writer) => encoded.write(writer).await,
        None if encoded.new_bytes() > LARGEST_INLINE_BYTES => {
            let text = format!(
                "{} bytes of state, {} of them rows in flight, are too much for the JobManager's memory, which takes \
                 {LARGEST_INLINE_BYTES} of a subtask: set 'execution.checkpointing.dir' to a folder or bucket that all processes reach",
                encoded.new_bytes(),
                encoded.in_flight_bytes()
            );
            let error = TaskError::new(FailureLabel::User, text);
            // How many rows are in flight is another time another number.
            let state_bytes = encoded.new_bytes().saturating_sub(encoded.in_flight_bytes());
            return match state_bytes > LARGEST_INLINE_BYTES {
                true => Err(error.fatal().into()),
                false => Err(error.into()),
            };
        }
        None => encoded.inline(),
    };
    let written = written.map_err(|error| match error {
        StateError::Store(error) => ClusterError::from(error),
        error => TaskError::from(error).into(),
    })?;
    let (part, ticket) = WrittenPart::of(written);
    let part = WrittenPart {
        processed_bytes,
        is_unaligned,
        ..part
    };
    Ok((part, ticket))
}
