//! What functions are told of checkpoints: Flink's `CheckpointedFunction` and `CheckpointListener`, as methods that every function has and
//! most leave out.
//!
//! A function keeps what a checkpoint shall hold in keyed state, broadcast state or lists ([`crate::OperatorListState`]), which need no word at
//! a checkpoint. These are for what lies elsewhere: to be put into a list before it is captured, or to be done outside once it is
//! safe. `snapshot_state` comes behind all records before the barrier.

/// In a function's trait: the methods, which do nothing.
macro_rules! checkpoint_hooks {
    () => {
        /// Called at each checkpoint, behind all records that it covers and before the state is captured: what goes into an
        /// [`OperatorListState`](crate::OperatorListState) here is in the checkpoint. (`initializeState` is
        /// `open`, where [`RuntimeContext::is_restored`](crate::RuntimeContext::is_restored) says whether there was a checkpoint before.)
        ///
        /// # Errors
        /// Fails the task, which the restart strategy may start again.
        fn snapshot_state(&mut self, checkpoint: flott_core::CheckpointId) -> Result<(), crate::function::BoxError> {
            let _ = checkpoint;
            Ok(())
        }

        /// Called once a checkpoint is complete and its sinks are committed; it may be left out where a failure comes first, and the next one
        /// counts for it.
        fn notify_checkpoint_complete(&mut self, checkpoint: flott_core::CheckpointId) {
            let _ = checkpoint;
        }

        /// Called when a checkpoint was given up that had begun; a later one covers what it would have held. It may come before
        /// [`Self::snapshot_state`] of the checkpoint, which is not called any more then.
        fn notify_checkpoint_aborted(&mut self, checkpoint: flott_core::CheckpointId) {
            let _ = checkpoint;
        }
    };
}

/// In what stands around a function, in a field: the methods, handed on to it.
macro_rules! forward_checkpoint_hooks {
    ($function:tt) => {
        fn snapshot_state(&mut self, checkpoint: flott_core::CheckpointId) -> Result<(), crate::function::BoxError> {
            self.$function.snapshot_state(checkpoint)
        }
        fn notify_checkpoint_complete(&mut self, checkpoint: flott_core::CheckpointId) {
            self.$function.notify_checkpoint_complete(checkpoint);
        }
        fn notify_checkpoint_aborted(&mut self, checkpoint: flott_core::CheckpointId) {
            self.$function.notify_checkpoint_aborted(checkpoint);
        }
    };
}

pub(crate) use {checkpoint_hooks, forward_checkpoint_hooks};
