//! Scripts as users write them.
