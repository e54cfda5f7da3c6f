//! What comes before the first record of a function and at the end of its task: `open` and `close`, as methods that every function has and most
//! leave out. What differs from one to the other is what `open` is told, and what may be declared there.

/// In a function's trait: the methods, which do nothing. `open` is told `$context` and declares `$declared`.
macro_rules! open_and_close {
    ($context:ty $(, declares $declared:literal)?) => {
        #[doc = concat!("Called once in each subtask before its first record" $(, ": declares ", $declared)?, ".")]
        ///
        /// # Errors
        /// Fails the task, which the restart strategy may start again; so do errors of all methods.
        fn open(&mut self, ctx: $context) -> Result<(), crate::function::BoxError> {
            let _ = ctx;
            Ok(())
        }

        /// Called once when the task ends, in whatever way: see [`MapFunction::close`](crate::MapFunction::close).
        ///
        /// # Errors
        /// They are told in the log; the task ends as it would.
        fn close(&mut self) -> Result<(), crate::function::BoxError> {
            Ok(())
        }
    };
}

/// In what stands around a function, in a field: the methods, handed on to it.
macro_rules! forward_open_and_close {
    ($context:ty, $function:tt) => {
        fn open(&mut self, ctx: $context) -> Result<(), crate::function::BoxError> {
            self.$function.open(ctx)
        }
        fn close(&mut self) -> Result<(), crate::function::BoxError> {
            self.$function.close()
        }
    };
}

pub(crate) use {forward_open_and_close, open_and_close};
